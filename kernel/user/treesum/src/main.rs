//! placeholder
#![no_std]
#![no_main]
strata_rt::entry!(main);
fn main(_: strata_rt::Arguments) -> u8 {
    0
}
