//! What `scripts/image` packs is whole, always the same, and what the Dockerfile speaks of.
//!
//! Packs programs of this machine; that a real containerd runs such images is for the suites with a node. Reads archives
//! with the `tar` crate, so that what is checked is not what wrote them.

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// What the chart and the shop's manifests run.
const IMAGES: [&str; 5] = ["weft-proxy", "weft-discovery", "weft-injector", "weft-shop", "weft-etcd"];

/// A file or folder in an archive, or a link.
struct Entry {
    data: Vec<u8>,
    mode: u32,
    link: Option<PathBuf>,
}

fn run(script: &str, args: &[&str]) -> Output {
    let output = Command::new(Path::new(ROOT).join("scripts").join(script)).args(args).output();
    output.unwrap_or_else(|error| panic!("{script}: {error}"))
}

fn pack(out: &Path, args: &[&str]) -> String {
    let out = out.to_str().expect("a path of letters");
    let output = run("image", &[&["--name", "shop/tools:v1", "--out", out], args].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// By path, in the archive's order checked to be sorted when `sorted`.
fn entries(archive: &[u8], sorted: bool) -> BTreeMap<String, Entry> {
    let mut all = BTreeMap::new();
    let mut last = String::new();
    for entry in tar::Archive::new(archive).entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let path = entry.path().expect("a path").to_string_lossy().trim_end_matches('/').to_owned();
        assert!(!sorted || path > last, "{path} stands after {last}");
        last = path.clone();
        let header = entry.header().clone();
        assert_eq!((header.mtime().ok(), header.uid().ok(), header.gid().ok()), (Some(0), Some(0), Some(0)), "{path}");
        let link = entry.link_name().expect("a link's name").map(std::borrow::Cow::into_owned);
        let mut data = Vec::new();
        entry.read_to_end(&mut data).expect("a whole entry");
        assert!(
            all.insert(path.clone(), Entry { data, mode: header.mode().expect("a mode"), link }).is_none(),
            "{path}"
        );
    }
    all
}

fn json(archive: &BTreeMap<String, Entry>, path: &str) -> Value {
    serde_json::from_slice(&archive.get(path).unwrap_or_else(|| panic!("no {path}")).data).expect("JSON")
}

fn blob(digest: &Value) -> String {
    let hex = digest.as_str().and_then(|digest| digest.strip_prefix("sha256:")).expect("a digest");
    format!("blobs/sha256/{hex}")
}

fn sha256(data: &[u8], dir: &Path) -> String {
    let file = dir.join("summed");
    std::fs::write(&file, data).expect("a file can be written");
    let output = Command::new("sha256sum").arg(&file).output().expect("sha256sum runs");
    String::from_utf8_lossy(&output.stdout).chars().take(64).collect()
}

#[test]
fn an_image_is_whole_and_describes_itself() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join("etc");
    std::fs::create_dir_all(folder.join("deep")).expect("folders");
    std::fs::write(folder.join("deep/file"), "told\n").expect("a file");
    std::os::unix::fs::symlink("deep/file", folder.join("link")).expect("a link");
    let folder = format!("{}=/etc/tools", folder.display());
    let out = dir.path().join("image.tar");
    let args = ["--entrypoint", "cat", "--entrypoint", "/etc/tools/link", "--user", "65532", "/bin/cat", &folder];
    let said = pack(&out, &[&args[..], &["--link", "/usr/bin/say=../local/bin/cat"]].concat());

    let archive = entries(&std::fs::read(&out).expect("the archive"), false);
    for (path, entry) in archive.iter().filter(|(path, _)| path.starts_with("blobs/")) {
        assert_eq!(
            path.rsplit('/').next(),
            Some(sha256(&entry.data, dir.path()).as_str()),
            "the name of a blob is its digest"
        );
    }
    assert_eq!(json(&archive, "oci-layout")["imageLayoutVersion"], "1.0.0");
    let image = json(&archive, "index.json")["manifests"][0].clone();
    assert_eq!(image["annotations"]["io.containerd.image.name"], "docker.io/shop/tools:v1");
    assert!(said.contains(image["digest"].as_str().expect("a digest")), "{said}");
    let manifest = json(&archive, &blob(&image["digest"]));
    let config = json(&archive, &blob(&manifest["config"]["digest"]));
    assert_eq!(config["config"]["Entrypoint"], serde_json::json!(["cat", "/etc/tools/link"]));
    assert_eq!((&config["config"]["User"], &config["os"]), (&"65532".into(), &"linux".into()));
    assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
    let docker = json(&archive, "manifest.json")[0].clone();
    assert_eq!(docker["RepoTags"][0], "shop/tools:v1");
    assert_eq!(docker["Config"], blob(&manifest["config"]["digest"]));
    assert_eq!(docker["Layers"][0], blob(&manifest["layers"][0]["digest"]));

    let layer = entries(&archive[&blob(&manifest["layers"][0]["digest"])].data, true);
    assert_eq!(layer["usr/local/bin/cat"].mode, 0o755);
    assert_eq!(
        (layer["etc/tools/deep/file"].data.as_slice(), layer["etc/tools/deep/file"].mode),
        (&b"told\n"[..], 0o644)
    );
    assert_eq!(layer["etc/tools/link"].link.as_deref(), Some(Path::new("deep/file")));
    assert_eq!(layer["usr/bin/say"].link.as_deref(), Some(Path::new("../local/bin/cat")));
    assert_eq!(layer["tmp"].mode, 0o1777);
    let has = |name: &str| layer.keys().any(|path| path.rsplit('/').next().is_some_and(|last| last.starts_with(name)));
    assert!(has("libc.so.") && has("ld-linux"), "the libraries of a dynamic program are missing");
}

#[test]
fn the_same_input_gives_the_same_image() {
    let dir = tempfile::tempdir().expect("a folder");
    let program = dir.path().join("program");
    let mut archives = Vec::new();
    for (number, name) in ["one.tar", "other.tar"].into_iter().enumerate() {
        // Another inode with another time.
        let _ = std::fs::remove_file(&program);
        std::fs::copy("/bin/cat", &program).expect("a copy");
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(86_400 * (1 + number as u64));
        std::fs::File::options().write(true).open(&program).and_then(|file| file.set_modified(time)).expect("a time");
        let out = dir.path().join(name);
        pack(&out, &[program.to_str().expect("a path of letters")]);
        archives.push(std::fs::read(out).expect("the archive"));
    }
    assert!(archives[0] == archives[1], "two archives of the same program differ");
}

#[test]
fn the_programs_run_with_nothing_but_what_was_packed() {
    let dir = tempfile::tempdir().expect("a folder");
    let root = dir.path().join("root");
    let root = root.to_str().expect("a path of letters");
    let output = run("image", &["--name", "cat:1", "--root", root, "/bin/cat"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = Command::new("chroot").args([root, "/usr/local/bin/cat", "--version"]).output().expect("chroot runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_cannot_be_packed_is_refused_by_its_name() {
    let dir = tempfile::tempdir().expect("a folder");
    let out = dir.path().join("image.tar");
    let out = out.to_str().expect("a path of letters");
    let cases: [(&[&str], &str); 8] = [
        (&["--name", "cat", "--out", out, "/bin/cat"], "--name cat: is not of the form NAME:TAG"),
        (&["--name", "cat:1", "--out", out, "/bin/none"], "/bin/none: there is no such file or folder"),
        (
            &["--name", "cat:1", "--out", "/none/image.tar", "/bin/cat"],
            "--out /none/image.tar: there is no such folder",
        ),
        (&["--name", "cat:1", "--out", out, "--user", "me", "/bin/cat"], "--user me: is no number"),
        (&["--name", "cat:1", "--out", out, "--link", "a", "/bin/cat"], "--link a: is not of the form PATH=TARGET"),
        (&["--name", "cat:1", "--out", out, "/bin/cat=/x", "/bin/ls=/x"], "/x: wanted twice"),
        (&["--name", "cat:1", "--out", out, "/bin/cat=../x"], "../x: is no path for a file in an image"),
        (&["--name", "cat:1", "--root", ROOT, "/bin/cat"], "is not empty"),
    ];
    for (args, says) in cases {
        let output = run("image", args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains(says), "{args:?}: {said}");
        assert!(!Path::new(out).exists(), "{args:?} left an archive behind");
    }
}

/// What `docker build` makes and what `make images` makes cannot be compared here. What is in both comes from the same
/// script; the rest is compared as text.
#[test]
fn the_dockerfile_has_the_same_images() {
    let read = |path: &str| std::fs::read_to_string(Path::new(ROOT).join(path)).expect("a file of the project");
    let (dockerfile, makefile, kubernetes) = (read("Dockerfile"), read("Makefile"), read("scripts/kubernetes"));
    let dir = tempfile::tempdir().expect("a folder");
    for name in IMAGES {
        let stage =
            dockerfile.split(&format!("FROM scratch AS {name}\n")).nth(1).unwrap_or_else(|| panic!("no target {name}"));
        let lines: Vec<&str> = stage.lines().take(3).collect();
        let (user, program) = match name {
            "weft-proxy" => ("15100", name),
            "weft-etcd" => ("65532", "etcd"),
            _ => ("65532", name),
        };
        let wanted = [
            format!("COPY --from=build /images/{name} /"),
            format!("USER {user}"),
            format!("ENTRYPOINT [\"{program}\"]"),
        ];
        assert_eq!(lines, wanted, "target {name}");
        let built =
            name == "weft-etcd" || [&dockerfile, &makefile].iter().all(|file| file.contains(&format!("--bin {name}")));
        assert!(built, "{name} is not built by Dockerfile and Makefile");

        // What the packer says of the same image.
        let programs = dir.path().join("programs");
        std::fs::create_dir_all(&programs).expect("a folder");
        std::fs::copy("/bin/cat", programs.join(name)).expect("a copy");
        let out = dir.path().join("images");
        let output = Command::new(Path::new(ROOT).join("scripts/images"))
            .env("WEFT_ETCD", "/bin/cat")
            .args(["--programs".as_ref(), programs.as_os_str(), "--out".as_ref(), out.as_os_str(), name.as_ref()])
            .output()
            .expect("scripts/images runs");
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let archive = entries(&std::fs::read(out.join(format!("{name}.tar"))).expect("the archive"), false);
        let config = json(&archive, json(&archive, "manifest.json")[0]["Config"].as_str().expect("a path"));
        assert_eq!(
            (&config["config"]["User"], &config["config"]["Entrypoint"][0]),
            (&user.into(), &program.into()),
            "{name}"
        );
        let layer = json(&archive, "manifest.json")[0]["Layers"][0].clone();
        let layer = entries(&archive[layer.as_str().expect("a path")].data, true);
        assert!(layer.contains_key(&format!("usr/local/bin/{program}")), "{name} lacks {program}");
    }
    let version = |text: &str, before: &str| {
        text.lines()
            .find_map(|line| line.trim().strip_prefix(before).map(str::to_owned))
            .unwrap_or_else(|| panic!("no {before}"))
    };
    assert_eq!(version(&dockerfile, "ARG ETCD="), version(&kubernetes, "etcd="), "the versions of etcd");
}
