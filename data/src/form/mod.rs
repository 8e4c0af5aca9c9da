//! The datasets that a name stands for, one file each, and their table. A file says where the data lies and which
//! readers are tried, in which order.

mod cifar;
mod cifar10;
mod cifar100;
mod cifar10_1;
mod cifar10_c;
mod gtsrb;
mod imagefolder;
mod mnist;
mod npz;
mod parquet;
mod sample;
mod tiny_imagenet;

use names::Table;

use crate::row::DatasetRow;

/// Every known dataset, in the order that help shows them.
pub const DATASETS: &Table<DatasetRow> = &[
    &sample::ROW,
    &cifar10::ROW,
    &cifar100::ROW,
    &mnist::ROW,
    &imagefolder::ROW,
    &parquet::ROW,
    &npz::ROW,
    &tiny_imagenet::ROW,
    &gtsrb::ROW,
    &cifar10_1::ROW,
    &cifar10_c::ROW,
];
