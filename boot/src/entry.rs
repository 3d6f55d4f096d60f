//! The kernel's first instructions.
//!
//! [`pvh_start`](self) runs in 32-bit protected mode at physical addresses, without paging. Three ranges are
//! mapped by two-megabyte pages through one set of tables: the first four gigabytes at 0 (for the jump
//! alone) and at the direct map, the first gigabyte at the kernel's image. They are writable and executable:
//! the kernel replaces them by exact ones before it does anything else.

#[cfg(not(test))]
mod start {
    use core::arch::global_asm;
    use core::cell::UnsafeCell;
    use core::ops::Range;
    use core::sync::atomic::{AtomicBool, Ordering};

    use crate::info::{BootInfo, MAX_COMMAND_LINE};
    use crate::layout::{self, KERNEL_IMAGE};
    use crate::pvh::{self, PhysicalMemory};

    global_asm!(
        r#"
    .pushsection .note.pvh, "a", @note
    .balign 4
    .long 4                             // length of the name
    .long 4                             // length of the value
    .long 18                            // XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .long pvh_start - {image}
    .popsection

    .pushsection .text.entry, "ax", @progbits
    .code32
    .globl pvh_start
    pvh_start:
        cli
        cld
        rdtsc
        mov esi, eax                    // edi:esi, the time of the first instruction
        mov edi, edx
        mov esp, offset __boot_stack_top - {image}
        mov ebp, ebx                    // the start information's address

        mov eax, 0x80000000             // long mode?
        cpuid
        cmp eax, 0x80000001
        jb unsupported
        mov eax, 0x80000001
        cpuid
        bt edx, 29
        jnc unsupported
        mov ecx, 0x800                  // no-execute, if the processor has it (bit 20, EFER.NXE)
        and edx, 1 << 20
        shr edx, 9
        mov ebx, edx                    // 0x800 or 0

        // Page directories: 2048 entries of two megabytes, present, writable, large.
        mov edx, offset boot_tables - {image}
        lea ecx, [edx + 0x3000]
        mov eax, 0x83
    map_page:
        mov [ecx], eax
        mov dword ptr [ecx + 4], 0
        add ecx, 8
        add eax, 0x200000
        jnc map_page
        // Page directory pointers: four for low memory, one more for the image.
        lea eax, [edx + 0x3003]
        mov [edx + 0x1000], eax
        mov [edx + 0x2000 + 510 * 8], eax
        add eax, 0x1000
        mov [edx + 0x1008], eax
        add eax, 0x1000
        mov [edx + 0x1010], eax
        add eax, 0x1000
        mov [edx + 0x1018], eax
        // The top: low memory at 0 and at the direct map, the image at the end.
        lea eax, [edx + 0x1003]
        mov [edx], eax
        mov [edx + 256 * 8], eax
        lea eax, [edx + 0x2003]
        mov [edx + 511 * 8], eax
        mov cr3, edx

        mov eax, cr4                    // PAE, OSFXSR, OSXMMEXCPT
        or eax, 0x620
        mov cr4, eax
        mov ecx, 0xc0000080             // EFER: long mode, no-execute
        rdmsr
        or eax, 0x100
        or eax, ebx
        wrmsr
        mov eax, cr0                    // paging, write protection, numeric errors, FPU present
        and eax, 0x9ffffff3             // caches on, no FPU emulation, no task switch pending
        or eax, 0x80010023
        mov cr0, eax
        lgdt [boot_gdt_pointer - {image}]
        mov eax, offset long_mode - {image}
        push 0x08
        push eax
        retf

    unsupported:
        mov esi, offset no_long_mode - {image}
        mov dx, 0x3f8
    say_it:
        lodsb
        test al, al
        jz stop
        out dx, al
        jmp say_it
    stop:
        hlt
        jmp stop

    .code64
    long_mode:
        movabs rax, offset at_image          // still at a physical address: leave it
        jmp rax
    at_image:
        xor eax, eax
        mov ds, eax
        mov es, eax
        mov ss, eax
        mov fs, eax
        mov gs, eax
        lea rsp, [rip + __boot_stack_top]
        mov eax, edi
        shl rax, 32
        mov esi, esi
        or rsi, rax
        mov edi, ebp
        xor ebp, ebp
        call {start}
        ud2

    no_long_mode:
        .asciz "strata: this processor has no 64-bit mode\r\n"
    .popsection

    .pushsection .rodata.boot, "a", @progbits
    .balign 8
    boot_gdt:
        .quad 0
        .quad 0x00af9a000000ffff        // 64-bit code
    boot_gdt_pointer:
        .word 15
        .quad boot_gdt - {image}
    .popsection

    .pushsection .bss.boot_tables, "aw", @nobits
    .balign 4096
    boot_tables:
        .skip 7 * 4096
    .popsection
    "#,
        image = const KERNEL_IMAGE,
        start = sym start,
    );

    #[expect(improper_ctypes, reason = "the kernel that defines `kernel_main` is compiled with this very type")]
    unsafe extern "C" {
        static __image_start: u8;
        static __image_end: u8;
        safe fn kernel_main(info: &'static BootInfo) -> !;
    }

    /// What is borrowed once, by code that runs once.
    struct Once<T>(UnsafeCell<T>);

    // SAFETY: `start` makes the only reference, before there is a second processor.
    unsafe impl<T> Sync for Once<T> {}

    struct DirectMap;

    impl PhysicalMemory for DirectMap {
        fn read<T: Copy>(&self, address: u64) -> Option<T> {
            let end = address.checked_add(size_of::<T>() as u64)?;
            if end > layout::EARLY_MAPPED {
                return None;
            }
            // SAFETY: the entry code mapped this range; `T` is a structure of integers that the loader wrote
            // or not, and any bytes make one.
            Some(unsafe { (layout::direct(address) as *const T).read_unaligned() })
        }
    }

    /// The first Rust code: makes the [`BootInfo`] and hands it to the kernel.
    extern "C" fn start(start_info: u64, entry_tsc: u64) -> ! {
        static ENTERED: AtomicBool = AtomicBool::new(false);
        static COMMAND_LINE: Once<[u8; MAX_COMMAND_LINE]> = Once(UnsafeCell::new([0; MAX_COMMAND_LINE]));
        static INFO: Once<Option<BootInfo>> = Once(UnsafeCell::new(None));

        if ENTERED.swap(true, Ordering::Relaxed) {
            fail("strata: entered twice\r\n");
        }
        // SAFETY: nothing else names the buffer, and this code runs once.
        let line: &'static mut [u8; MAX_COMMAND_LINE] = unsafe { &mut *COMMAND_LINE.0.get() };
        match pvh::parse(&DirectMap, start_info, line, image(), entry_tsc) {
            Ok(info) => {
                // SAFETY: as above; the only reference that is ever made is the shared one below.
                let place: &'static mut Option<BootInfo> = unsafe { &mut *INFO.0.get() };
                kernel_main(place.insert(info))
            }
            Err(pvh::PvhError::OutOfReach) => fail("strata: the loader's information lies above 4 GiB\r\n"),
            Err(pvh::PvhError::BadMagic) => fail("strata: not started by a PVH loader\r\n"),
            Err(pvh::PvhError::NoMemoryMap) => fail("strata: the loader gave no memory map\r\n"),
        }
    }

    /// The physical addresses of the kernel's image.
    fn image() -> Range<u64> {
        (&raw const __image_start) as u64 - KERNEL_IMAGE..(&raw const __image_end) as u64 - KERNEL_IMAGE
    }

    /// Says why the kernel cannot start, on the first serial port, where there is no console yet, and stops.
    fn fail(message: &str) -> ! {
        for byte in message.bytes() {
            // SAFETY: writing to the first serial port's data register sends a byte and touches no memory.
            unsafe { core::arch::asm!("out dx, al", in("dx") 0x3f8_u16, in("al") byte, options(nomem, nostack)) };
        }
        loop {
            // SAFETY: halting with interrupts off stops the processor, which is the purpose.
            unsafe { core::arch::asm!("cli", "hlt", options(nomem, nostack)) };
        }
    }
}
