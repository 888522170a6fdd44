//! Names that are near a misspelt one, and where names of a library come from.

/// Modules of Python's library that a script may have forgotten to import.
pub(super) const MODULES: [&str; 44] = [
    "argparse",
    "array",
    "ast",
    "base64",
    "bisect",
    "calendar",
    "collections",
    "contextlib",
    "copy",
    "csv",
    "dataclasses",
    "datetime",
    "decimal",
    "difflib",
    "enum",
    "fractions",
    "functools",
    "glob",
    "hashlib",
    "heapq",
    "html",
    "io",
    "itertools",
    "json",
    "logging",
    "math",
    "operator",
    "os",
    "pathlib",
    "pprint",
    "queue",
    "random",
    "re",
    "secrets",
    "shutil",
    "statistics",
    "string",
    "struct",
    "sys",
    "textwrap",
    "time",
    "typing",
    "unicodedata",
    "uuid",
];

/// Names of Python's library and the module that has them.
pub(super) const HOMES: [(&str, &str); 30] = [
    ("Counter", "collections"),
    ("Decimal", "decimal"),
    ("Enum", "enum"),
    ("Fraction", "fractions"),
    ("OrderedDict", "collections"),
    ("Path", "pathlib"),
    ("accumulate", "itertools"),
    ("bisect_left", "bisect"),
    ("ceil", "math"),
    ("chain", "itertools"),
    ("combinations", "itertools"),
    ("dataclass", "dataclasses"),
    ("deepcopy", "copy"),
    ("defaultdict", "collections"),
    ("deque", "collections"),
    ("field", "dataclasses"),
    ("floor", "math"),
    ("gcd", "math"),
    ("heappop", "heapq"),
    ("heappush", "heapq"),
    ("lru_cache", "functools"),
    ("mean", "statistics"),
    ("median", "statistics"),
    ("namedtuple", "collections"),
    ("partial", "functools"),
    ("permutations", "itertools"),
    ("pi", "math"),
    ("product", "itertools"),
    ("reduce", "functools"),
    ("sqrt", "math"),
];

/// Words that mean something to Python wherever they stand.
pub(super) const PYTHON: [&str; 52] = [
    "abs",
    "all",
    "any",
    "bin",
    "bool",
    "bytes",
    "chr",
    "dict",
    "divmod",
    "enumerate",
    "filter",
    "float",
    "format",
    "frozenset",
    "getattr",
    "hash",
    "hex",
    "input",
    "int",
    "isinstance",
    "iter",
    "len",
    "list",
    "map",
    "max",
    "min",
    "next",
    "oct",
    "open",
    "ord",
    "pow",
    "print",
    "range",
    "repr",
    "reversed",
    "round",
    "set",
    "setattr",
    "sorted",
    "str",
    "sum",
    "super",
    "tuple",
    "type",
    "zip",
    "True",
    "False",
    "None",
    "ValueError",
    "KeyError",
    "TypeError",
    "Exception",
];

/// Attributes of Python's own types and of the modules that scripts use most.
pub(super) const PYTHON_ATTRIBUTES: [&str; 66] = [
    "append",
    "capitalize",
    "ceil",
    "clear",
    "copy",
    "count",
    "dumps",
    "endswith",
    "extend",
    "factorial",
    "find",
    "findall",
    "floor",
    "format",
    "fromkeys",
    "gcd",
    "get",
    "group",
    "index",
    "insert",
    "intersection",
    "isalnum",
    "isalpha",
    "isdigit",
    "islower",
    "isnumeric",
    "isspace",
    "issubset",
    "isupper",
    "items",
    "join",
    "keys",
    "ljust",
    "loads",
    "log",
    "lower",
    "lstrip",
    "match",
    "path",
    "pi",
    "pop",
    "popitem",
    "randint",
    "remove",
    "replace",
    "reverse",
    "rfind",
    "rjust",
    "rstrip",
    "search",
    "setdefault",
    "sort",
    "split",
    "splitlines",
    "sqrt",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "translate",
    "union",
    "update",
    "upper",
    "values",
    "zfill",
    "add",
];

/// Words that mean something to JavaScript wherever they stand.
pub(super) const JAVASCRIPT: [&str; 21] = [
    "Array",
    "Boolean",
    "Date",
    "Error",
    "Infinity",
    "JSON",
    "Map",
    "Math",
    "NaN",
    "Number",
    "Object",
    "RegExp",
    "Set",
    "String",
    "console",
    "false",
    "isNaN",
    "null",
    "parseInt",
    "true",
    "undefined",
];

/// Attributes of JavaScript's own types.
pub(super) const JAVASCRIPT_ATTRIBUTES: [&str; 66] = [
    "abs",
    "assign",
    "at",
    "ceil",
    "charAt",
    "charCodeAt",
    "concat",
    "delete",
    "endsWith",
    "entries",
    "every",
    "fill",
    "filter",
    "find",
    "findIndex",
    "flat",
    "flatMap",
    "floor",
    "forEach",
    "from",
    "get",
    "has",
    "includes",
    "indexOf",
    "isArray",
    "join",
    "keys",
    "lastIndexOf",
    "length",
    "log",
    "map",
    "match",
    "max",
    "min",
    "padEnd",
    "padStart",
    "parse",
    "pop",
    "pow",
    "push",
    "random",
    "reduce",
    "repeat",
    "replace",
    "replaceAll",
    "reverse",
    "round",
    "set",
    "shift",
    "size",
    "slice",
    "some",
    "sort",
    "splice",
    "split",
    "sqrt",
    "startsWith",
    "stringify",
    "substring",
    "toFixed",
    "toLowerCase",
    "toString",
    "toUpperCase",
    "trim",
    "unshift",
    "values",
];

/// Attributes as other languages call them.
const ALIASES: [(&str, &[&str]); 16] = [
    ("push", &["append", "add"]),
    ("append", &["add", "push"]),
    ("add", &["append", "push", "set"]),
    ("len", &["length"]),
    ("size", &["length"]),
    ("contains", &["includes", "has", "count"]),
    ("includes", &["count", "find"]),
    ("has_key", &["get"]),
    ("indexOf", &["index", "find"]),
    ("trim", &["strip"]),
    ("strip", &["trim"]),
    ("upper", &["toUpperCase"]),
    ("lower", &["toLowerCase"]),
    ("iteritems", &["items"]),
    ("insert", &["append", "splice"]),
    ("index", &["indexOf", "find"]),
];

/// The most names that are taken for a misspelt one.
const MOST: usize = 5;

/// Returns the known names that are near one, the nearest first.
pub(super) fn near<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let plain = |it: &str| it.replace('_', "").to_lowercase();
    let most = if name.chars().count() < 4 { 1 } else { 2 };
    let mut found: Vec<(usize, &str)> = known
        .into_iter()
        .filter(|it| *it != name)
        .filter_map(|it| {
            let far = if plain(it) == plain(name) { 0 } else { distance(name, it, most)? };
            Some((far, it))
        })
        .collect();
    found.sort();
    found.dedup();
    found.into_iter().map(|it| it.1).take(MOST).collect()
}

/// Returns the attributes that one may have meant.
pub(super) fn attributes<'a>(name: &str, known: &[&'a str]) -> Vec<&'a str> {
    let meant = ALIASES.iter().find(|it| it.0 == name).map_or(&[][..], |it| it.1);
    let mut found = near(name, known.iter().copied());
    found.extend(known.iter().copied().filter(|it| meant.contains(it)));
    found
}

/// Returns how many letters are other, missing, too many or in the wrong order; `None` when it is more than `most`.
fn distance(a: &str, b: &str, most: usize) -> Option<usize> {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > most || a.len() > 64 || b.len() > 64 {
        return None;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let same = last[j] + usize::from(x != y);
            let mut least = same.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|it| *it <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_comes_first() {
        assert_eq!(near("totl", ["total", "tool", "other"]), ["tool", "total"]);
        assert_eq!(near("lenght", ["length", "left"]), ["length"]);
        assert_eq!(near("toUppercase", ["toUpperCase", "toLowerCase"]), ["toUpperCase"]);
        assert_eq!(near("x", ["y", "abc", "x"]), ["y"]);
        assert_eq!(attributes("push", &["append", "pop", "union"]), ["append"]);
    }
}
