
/* The same through the vDSO's __kernel_vsyscall, whose address is in AT_SYSINFO: sysenter or syscall. */
static void settime32_vdso(int step, uint32_t fd, uint32_t flags, uintptr_t new, uintptr_t old) {
    long ret;
    __asm__ volatile("call *%%edi" : "=a"(ret) : "0"(325), "b"(fd), "c"(flags), "d"(new), "S"(old), "D"(getauxval(AT_SYSINFO)) : "memory");
    show(step, fd, flags, new, old, ret);
}
