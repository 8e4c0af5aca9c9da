//! What the engine promises beyond right numbers, and what every row of the tables of architectures, objectives and attacks
//! must do.

mod attacks;
mod elsewhere;
mod gradients;
mod independence;
mod parts;
mod registers;
mod small;
mod statistics;
mod steps;
mod tables;
mod threads;
