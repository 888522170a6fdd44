//! What `sedge new` writes: one entry for each language, and one more where it can answer HTTP.
//!
//! The files are in `kit/` of this crate. One more language is its folder there and one entry here.

/// A file of a kit: its place in the new folder, and its text.
pub(super) type Source = (&'static str, &'static str);

/// Something that the build needs on this machine.
#[derive(Debug)]
pub(super) struct Need {
    /// What it is, in words.
    pub(super) what: &'static str,
    /// The program and its arguments that succeed when it is there.
    pub(super) probe: &'static [&'static str],
    /// Whether the last word that the program writes is a folder that must be there.
    pub(super) folder: bool,
    /// How to get it.
    pub(super) get: &'static str,
}

/// One sort of function in one language.
#[derive(Debug)]
pub(super) struct Kit {
    /// The language, as `--lang` names it.
    pub(super) language: &'static str,
    /// Whether it answers HTTP requests; it is called with bytes otherwise.
    pub(super) http: bool,
    /// One sentence for its README.
    pub(super) about: &'static str,
    /// Its files, beside the README; `{{name}}` stands for the function's name.
    pub(super) sources: &'static [Source],
    /// The commands that build it.
    pub(super) build: &'static [&'static str],
    /// The file that they make, and that is deployed.
    pub(super) made: &'static str,
    /// What they need.
    pub(super) needs: &'static [Need],
}

/// The world of functions over bytes.
const WORLD: Source = ("wit/function.wit", include_str!("../../../../sedge-functions/wit/function.wit"));

const RUST: &[Need] = &[
    Need {
        what: "cargo",
        probe: &["cargo", "--version"],
        folder: false,
        get: "https://rustup.rs",
    },
    Need {
        what: "Rust's standard library for Wasm",
        probe: &["rustc", "--print", "target-libdir", "--target", "wasm32-unknown-unknown"],
        folder: true,
        get: "rustup target add wasm32-unknown-unknown",
    },
];
const RUST_BUILD: &[&str] = &["cargo build --release --target wasm32-unknown-unknown"];
const RUST_MADE: &str = "target/wasm32-unknown-unknown/release/{{crate}}.wasm";

const NPM: &[Need] = &[Need {
    what: "npm",
    probe: &["npm", "--version"],
    folder: false,
    get: "https://nodejs.org, version 18 or newer",
}];

const PIP: &[Need] = &[Need {
    what: "python3 with pip",
    probe: &["python3", "-m", "pip", "--version"],
    folder: false,
    get: "Debian and Ubuntu: apt-get install python3-pip",
}];
const PYTHON_INSTALL: &str =
    "python3 -m pip install --quiet --target .tools --requirement requirements.txt";

const CLANG: &[Need] = &[
    Need {
        what: "clang with the target wasm32",
        probe: &["sh", "-c", "${CC:-clang} --print-targets | grep -q wasm32"],
        folder: false,
        get: "Debian and Ubuntu: apt-get install clang lld; CC names another one",
    },
    Need {
        what: "wasm-ld, the linker",
        probe: &["sh", "-c", "test -x \"$(${CC:-clang} --target=wasm32 -print-prog-name=wasm-ld)\" || wasm-ld --version"],
        folder: false,
        get: "Debian and Ubuntu: apt-get install lld",
    },
];

/// Every kit.
pub(super) const KITS: &[Kit] = &[
    Kit {
        language: "rust",
        http: false,
        about: "A function over bytes, in Rust: a name in, a greeting out.",
        sources: &[
            ("Cargo.toml", include_str!("../../../kit/rust/manifest.toml")),
            ("src/lib.rs", include_str!("../../../kit/rust/lib.rs")),
            WORLD,
            (".gitignore", include_str!("../../../kit/rust/gitignore")),
        ],
        build: RUST_BUILD,
        made: RUST_MADE,
        needs: RUST,
    },
    Kit {
        language: "rust",
        http: true,
        about: "Answers HTTP requests (`wasi:http`), in Rust: `/hello/NAME` with a greeting.",
        sources: &[
            ("Cargo.toml", include_str!("../../../kit/rust-http/manifest.toml")),
            ("src/lib.rs", include_str!("../../../kit/rust-http/lib.rs")),
            (".gitignore", include_str!("../../../kit/rust-http/gitignore")),
        ],
        build: RUST_BUILD,
        made: RUST_MADE,
        needs: RUST,
    },
    Kit {
        language: "js",
        http: false,
        about: "A function over bytes, in JavaScript: a name in, a greeting out.",
        sources: &[
            ("package.json", include_str!("../../../kit/js/package.json")),
            ("function.js", include_str!("../../../kit/js/function.js")),
            WORLD,
            (".gitignore", include_str!("../../../kit/js/gitignore")),
        ],
        build: &["npm install --no-fund --no-audit", "npm run build"],
        made: "{{name}}.wasm",
        needs: NPM,
    },
    Kit {
        language: "python",
        http: false,
        about: "A function over bytes, in Python: a name in, a greeting out.",
        sources: &[
            ("app.py", include_str!("../../../kit/python/app.py")),
            ("requirements.txt", include_str!("../../../kit/python/requirements.txt")),
            WORLD,
            (".gitignore", include_str!("../../../kit/python/gitignore")),
        ],
        build: &[
            PYTHON_INSTALL,
            "PYTHONPATH=.tools .tools/bin/componentize-py -d wit -w function componentize app --stub-wasi -o {{name}}.wasm",
        ],
        made: "{{name}}.wasm",
        needs: PIP,
    },
    Kit {
        language: "python",
        http: true,
        about: "Answers HTTP requests (`wasi:http`), in Python: `/hello/NAME` with a greeting.",
        sources: &[
            ("app.py", include_str!("../../../kit/python-http/app.py")),
            ("requirements.txt", include_str!("../../../kit/python-http/requirements.txt")),
            ("wit/world.wit", include_str!("../../../kit/python-http/world.wit")),
            ("wit/deps/http.wit", include_str!("../../../kit/python-http/http.wit")),
            ("wit/deps/io.wit", include_str!("../../../kit/python-http/io.wit")),
            (".gitignore", include_str!("../../../kit/python-http/gitignore")),
        ],
        build: &[
            PYTHON_INSTALL,
            "PYTHONPATH=.tools .tools/bin/componentize-py -d wit -w web componentize app -o {{name}}.wasm",
        ],
        made: "{{name}}.wasm",
        needs: PIP,
    },
    Kit {
        language: "c",
        http: false,
        about: "A function over bytes, in C without a C library: a name in, a greeting out.",
        sources: &[
            ("function.c", include_str!("../../../kit/c/function.c")),
            ("build.sh", include_str!("../../../kit/c/build.sh")),
            (".gitignore", include_str!("../../../kit/c/gitignore")),
        ],
        build: &["sh build.sh"],
        made: "{{name}}.wasm",
        needs: CLANG,
    },
];
