// A function over bytes, without a C library: a name in, a greeting out. Every task has a fresh instance.
//
// The exports follow the component model's canonical ABI of
// `process: func(input: list<u8>) -> result<list<u8>, string>`: arguments are pointer and length, the result is a
// pointer to tag (0 an answer, 1 an error), pointer and length.

typedef unsigned char u8;
typedef unsigned long u32;

extern u8 __heap_base;
static u8 *top = &__heap_base;

// Hands out memory from a heap that only grows: every task has an instance of its own.
static void *take(u32 align, u32 size) {
    u32 at = ((u32)top + align - 1) & ~(align - 1);
    u32 pages = (at + size + 65535) / 65536, have = __builtin_wasm_memory_size(0);
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

static void *done(u32 tag, const char *before, const u8 *middle, u32 length, const char *after) {
    u32 first = 0, last = 0, at = 0;
    while (before[first]) first++;
    while (after[last]) last++;
    u8 *to = take(1, first + length + last);
    for (u32 it = 0; it < first; it++) to[at++] = before[it];
    for (u32 it = 0; it < length; it++) to[at++] = middle[it];
    for (u32 it = 0; it < last; it++) to[at++] = after[it];
    result.tag = tag;
    result.bytes = to;
    result.length = at;
    return &result;
}

static int blank(u8 it) { return it == ' ' || it == '\t' || it == '\n' || it == '\r'; }

__attribute__((export_name("process")))
void *process(u8 *input, u32 length) {
    while (length && blank(input[length - 1])) length--;
    while (length && blank(*input)) input++, length--;
    if (!length) return done(1, "say a name", input, 0, "");
    return done(0, "Hello, ", input, length, "!");
}
