//! Tests of the house as a whole: who may use whom, and whether pages, dashboards and help agree with the program.
//! One binary, no network, a few seconds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod configuration;
mod direction;
mod faults;
mod help;
mod house;
mod metrics;
mod openapi;
mod support;
