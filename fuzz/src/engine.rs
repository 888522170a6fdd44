//! libFuzzer's side: how it is started, how it hands over an input, and what ends it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::{CString, c_char, c_int};
use std::process::ExitCode;
use std::sync::OnceLock;
use std::{env, iter, panic, process, ptr, slice};

use crate::TARGETS;

/// The most memory that a decoder may ask for at once: what an input *says* about its size must never be believed.
const LARGEST: usize = 64 << 20;

/// What is fed; libFuzzer's callback takes no argument of ours.
static FEED: OnceLock<fn(&[u8]) -> bool> = OnceLock::new();

#[global_allocator]
static MEMORY: Bounded = Bounded;

/// The system's memory, in pieces of at most [`LARGEST`] bytes.
struct Bounded;

impl Bounded {
    fn judge(size: usize) {
        if size > LARGEST {
            process::abort(); // libFuzzer shows the stack and keeps the input
        }
    }
}

// SAFETY: every call goes to the system's allocator as it came; what is refused ends the process.
#[expect(unsafe_code, reason = "the trait is unsafe")]
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::judge(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Self::judge(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::judge(size);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(old, layout) }
    }
}

#[expect(unsafe_code, reason = "libFuzzer is C++")]
unsafe extern "C" {
    /// The library's own entry (FuzzerDriver.cpp).
    fn LLVMFuzzerRunDriver(
        argc: *mut c_int,
        argv: *mut *mut *mut c_char,
        one: extern "C" fn(*const u8, usize) -> c_int,
    ) -> c_int;
}

/// Feeds one input.
extern "C" fn one(bytes: *const u8, len: usize) -> c_int {
    // SAFETY: libFuzzer gives `len` readable bytes for the length of this call; none come with any pointer.
    #[expect(unsafe_code, reason = "libFuzzer is C++")]
    let input = if len == 0 { &[] } else { unsafe { slice::from_raw_parts(bytes, len) } };
    if let Some(feed) = FEED.get() {
        feed(input);
    }
    0
}

/// `--list` prints the targets; `--target=NAME` and libFuzzer's own options run one.
pub(crate) fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    let named = arguments.iter().find_map(|it| it.strip_prefix("--target="));
    let Some(named) = named else {
        for (name, _) in TARGETS.iter().copied().flatten() {
            say(name);
        }
        return ExitCode::SUCCESS;
    };
    let target = TARGETS.iter().copied().flatten().find(|(name, _)| *name == named);
    let Some((_, feed)) = target else {
        say(&format!("there is no target `{named}`; `--list` prints them"));
        return ExitCode::FAILURE;
    };
    FEED.get_or_init(|| *feed);
    // A panic is a finding, also where somebody would catch it.
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |it| {
        usual(it);
        process::abort();
    }));
    start(arguments)
}

#[expect(clippy::print_stdout, reason = "a program's output")]
fn say(line: &str) {
    println!("{line}");
}

fn start(arguments: Vec<String>) -> ExitCode {
    let texts: Vec<CString> =
        arguments.into_iter().filter_map(|it| CString::new(it).ok()).collect();
    let pointers = texts.iter().map(|it| it.as_ptr().cast_mut());
    let mut pointers: Vec<*mut c_char> = pointers.chain(iter::once(ptr::null_mut())).collect();
    let mut count = c_int::try_from(texts.len()).unwrap_or(c_int::MAX);
    let mut argv = pointers.as_mut_ptr();
    // SAFETY: as C passes them to `main`: `count` texts and a null; they live until the call returns.
    #[expect(unsafe_code, reason = "libFuzzer is C++")]
    let code = unsafe { LLVMFuzzerRunDriver(&raw mut count, &raw mut argv, one) };
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
