//! A shard: the rows of a range of images, in memory and in the two forms of a file.

pub(crate) mod answer;
pub(crate) mod content;
pub(crate) mod layout;
#[cfg(feature = "parquet")]
pub(crate) mod parquet;
#[cfg(not(feature = "parquet"))]
#[path = "shard/without_parquet.rs"]
pub(crate) mod parquet;
pub(crate) mod rows;
pub(crate) mod safetensors;
pub(crate) mod storage;
pub(crate) mod stream;
pub(crate) mod window;
