//! Devices: serial, PCI, virtio, clocks, random numbers, power
#![no_std]

