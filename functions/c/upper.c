// A function in C without a C library: ASCII letters to upper case.
//
// The exports follow the canonical ABI of `process: func(input: list<u8>) -> result<list<u8>, string>`:
// arguments are pointer and length, the result is a pointer to tag, pointer and length.

typedef unsigned char u8;
typedef unsigned long u32;

extern u8 __heap_base;
static u8 *top = &__heap_base;

// Hands out memory from a heap that only grows: every task has an instance of its own.
static void *take(u32 align, u32 size) {
    u32 at = ((u32)top + align - 1) & ~(align - 1);
    u32 pages = (at + size + 65535) / 65536;
    u32 have = __builtin_wasm_memory_size(0);
    if (pages > have && __builtin_wasm_memory_grow(0, pages - have) == (u32)-1) __builtin_trap();
    top = (u8 *)(at + size);
    return (void *)at;
}

__attribute__((export_name("cabi_realloc")))
void *cabi_realloc(void *old, u32 old_size, u32 align, u32 size) {
    u8 *to = take(align, size);
    for (u32 at = 0; at < old_size && at < size; at++) to[at] = ((u8 *)old)[at];
    return to;
}

static struct { u32 tag; u8 *bytes; u32 length; } result;

__attribute__((export_name("process")))
void *process(u8 *input, u32 length) {
    for (u32 at = 0; at < length; at++) {
        if (input[at] >= 'a' && input[at] <= 'z') input[at] -= 'a' - 'A';
    }
    result.tag = 0;
    result.bytes = input;
    result.length = length;
    return &result;
}
