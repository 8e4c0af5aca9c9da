//! Self-contained HTML pages: text, tables, charts as inline SVG, small images; one file that asks the network for nothing.
//!
//! [`Html`] is markup in which all text that came from elsewhere is escaped: it is only made of elements whose names and
//! attributes' names are the program's own, and of text. [`Page`] is the frame that every page has: the style for both
//! schemes, narrow windows and print. This crate knows nothing of what is shown.

mod chart;
mod figures;
mod frame;
mod html;
mod picture;
mod place;
mod table;
mod tiles;

pub use chart::bars::{Bars, Row};
pub use chart::histogram::Histogram;
pub use chart::intervals::{Interval, Intervals};
pub use chart::lines::{Lines, Series};
pub use figures::{percent, percent_interval, significant};
pub use frame::Page;
pub use html::Html;
pub use picture::{Pixels, picture};
pub use place::{is_free, write};
pub use table::{Cell, Table, facts};
pub use tiles::{Tile, tiles};
