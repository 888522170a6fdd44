// A function in C without a C library that counts: `+1 7` is 8, `*2 7` is 14.
//
// The exports follow the canonical ABI of `process: func(input: list<u8>) -> result<list<u8>, string>`:
// arguments are pointer and length, the result is a pointer to tag, pointer and length.

typedef unsigned char u8;
typedef unsigned long u32;
typedef unsigned long long u64;

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

static void *refuse(void) {
    static u8 why[] = "the input looks like +1 7 or *2 7";
    result.tag = 1;
    result.bytes = why;
    result.length = sizeof why - 1;
    return &result;
}

// Reads at most nine digits; returns how many there were.
static u32 number(const u8 *text, u32 length, u64 *value) {
    u32 at = 0;
    *value = 0;
    for (; at < length && at < 9 && text[at] >= '0' && text[at] <= '9'; at++) {
        *value = *value * 10 + (text[at] - '0');
    }
    return at;
}

__attribute__((export_name("process")))
void *process(u8 *input, u32 length) {
    static u8 digits[20];
    u64 by, value;
    if (length == 0 || (input[0] != '+' && input[0] != '*')) return refuse();
    u32 first = number(input + 1, length - 1, &by);
    if (first == 0 || 1 + first >= length || input[1 + first] != ' ') return refuse();
    u32 rest = length - 2 - first;
    u32 second = number(input + 2 + first, rest, &value);
    if (second == 0 || second != rest) return refuse();
    value = input[0] == '+' ? value + by : value * by;
    u32 at = sizeof digits;
    do {
        digits[--at] = '0' + value % 10;
        value /= 10;
    } while (value > 0);
    result.tag = 0;
    result.bytes = digits + at;
    result.length = sizeof digits - at;
    return &result;
}
