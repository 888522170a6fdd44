// A function that never gets as far as its input: it loops while the host asks it for memory.

typedef unsigned long u32;

__attribute__((export_name("cabi_realloc")))
void *cabi_realloc(void *old, u32 old_size, u32 align, u32 size) {
    (void)old; (void)old_size; (void)align; (void)size;
    for (;;) __asm__ volatile("");
}

static u32 result[3];

__attribute__((export_name("process")))
void *process(void *input, u32 length) {
    (void)input; (void)length;
    return result;
}
