//! The smallest program of the firmware: it greets, and names its arguments. An example to start from.

#![no_std]
#![no_main]
#![deny(unsafe_code)]

use strata_rt::text::Shown;
use strata_rt::{Arguments, println};

strata_rt::entry!(main);

fn main(arguments: Arguments) -> u8 {
    println!("Hello from a program of the firmware.");
    for (number, argument) in arguments.iter().enumerate() {
        println!("argument {number}: {}", Shown(argument));
    }
    0
}
