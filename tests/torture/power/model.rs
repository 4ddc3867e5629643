//! The volatile write cache keeps what it promises: this test's own process, started again with the library, writes and syncs.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::cut::{UnsyncedWrites, cut_power};
use super::volatile_cache::VolatileCache;

const NAME: &str = "power::model::power_cut_leaves_what_was_synced_under_durable_names";

/// What the process on the modelled disk does. Only the content "kept" is synced.
fn write_files(folder: &Path) {
    let sync_folder = || File::open(folder).unwrap().sync_all().unwrap();
    let create = |name: &str, content: &str| {
        let mut file = File::create_new(folder.join(name)).unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file
    };
    let mut appended = create("appended", "kept");
    appended.sync_all().unwrap();
    appended.write_all(b" lost").unwrap();

    // Through a duplicate and another descriptor of the file.
    let original = create("shared", "");
    original.try_clone().unwrap().write_all(b"kept").unwrap();
    File::open(folder.join("shared"))
        .unwrap()
        .sync_data()
        .unwrap();

    let shortened = create("shortened", "kept");
    shortened.sync_data().unwrap();
    shortened.set_len(1).unwrap();

    create("never synced", "lost");
    create("removed", "kept").sync_all().unwrap();
    sync_folder();
    fs::remove_file(folder.join("removed")).unwrap();
    create("without name", "lost").sync_all().unwrap();
    fs::rename(folder.join("existing"), folder.join("renamed")).unwrap();
}

#[test]
fn power_cut_leaves_what_was_synced_under_durable_names() {
    if let Some(folder) = std::env::var_os("VOLATILE_CACHE_FOLDER") {
        return write_files(Path::new(&folder));
    }
    let root = tempfile::tempdir().unwrap();
    let (folder, durable) = (root.path().join("volume"), root.path().join("durable"));
    fs::create_dir(&folder).unwrap();
    fs::create_dir(&durable).unwrap();
    fs::write(folder.join("existing"), "kept").unwrap();
    let mut cache = VolatileCache::build(root.path()).unwrap();
    cache.model(folder.clone(), durable.clone());
    let writer = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME])
        .envs(cache.environment())
        .output()
        .unwrap();
    assert!(writer.status.success(), "{writer:?}");
    assert!(folder.join("without name").exists(), "{writer:?}");
    let mut rng = StdRng::seed_from_u64(1);
    cut_power(&folder, &durable, UnsyncedWrites::AllLost, &mut rng);
    let left: BTreeMap<String, String> = fs::read_dir(&folder)
        .unwrap()
        .map(|file| {
            let file = file.unwrap();
            let name = file.file_name().into_string().unwrap();
            (name, fs::read_to_string(file.path()).unwrap())
        })
        .collect();
    let expected = [
        ("appended", "kept"),
        ("existing", "kept"),
        ("never synced", ""),
        ("removed", "kept"),
        ("shared", "kept"),
        ("shortened", "kept"),
    ];
    assert_eq!(
        left,
        expected.map(|(n, c)| (n.to_owned(), c.to_owned())).into()
    );
}
