//! Nothing of its own: this package exists so that cargo builds libFuzzer, which `libfuzzer-sys` carries as source.
