use std::io::Write;
use std::sync::Barrier;
use std::time::Duration;

use super::super::held::DAMAGED;
use super::*;

/// A data directory as PostgreSQL leaves it, but for its contents.
fn data(folder: &Path, state: u32) -> PathBuf {
    let data = folder.join(format!("data-{state}"));
    std::fs::create_dir_all(data.join("global")).unwrap();
    std::fs::create_dir_all(data.join("base")).unwrap();
    let mut control = vec![0; 16];
    control.extend(state.to_ne_bytes());
    std::fs::write(data.join("global/pg_control"), control).unwrap();
    std::fs::write(data.join("PG_VERSION"), "15\n").unwrap();
    std::fs::write(data.join("postmaster.opts"), "postgres -p 1").unwrap();
    data
}

fn entry(key: &str) -> Entry {
    Entry {
        key: key.to_owned(),
        made: Timestamp::now(),
        version: "15.18".to_owned(),
        parts: Vec::new(),
        folders: Vec::new(),
        user: "app".to_owned(),
        password: "inside".to_owned(),
        database: None,
        templates: Vec::new(),
        manners: Vec::new(),
        size: Size { files: 0, bytes: 0 },
        digest: String::new(),
    }
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store { folder: folder.path().join("postgres"), limit: 1_000_000 };
    (folder, store)
}

fn directories(store: &Store) -> usize {
    std::fs::read_dir(store.entries()).unwrap().count()
}

#[test]
fn maps_of_catalogs_are_left_out() {
    let (folder, store) = store();
    let data = data(folder.path(), 1);
    let database = |data: &Path| data.join("base/1");
    std::fs::create_dir_all(database(&data)).unwrap();
    for name in ["1259", "1259_fsm", "1259_vm", "16390", "16390_fsm", "16390_vm", "x_vm"] {
        std::fs::write(database(&data).join(name), "").unwrap();
    }
    store.put(entry("a"), (&data, None), &[]).unwrap();
    let Found::Held(held) = store.find("a") else { panic!("it was kept") };
    let files = std::fs::read_dir(database(&held.data())).unwrap();
    let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["1259", "16390", "16390_fsm", "16390_vm", "x_vm"]);
}

#[test]
fn what_is_kept_is_found_whole() {
    let (folder, store) = store();
    assert!(matches!(store.find("a"), Found::Absent));
    store.put(entry("a"), (&data(folder.path(), 1), None), &[]).unwrap();
    let Found::Held(held) = store.find("a") else { panic!("it was kept") };
    assert_eq!(held.entry.size, Size { files: 2, bytes: 23 });
    let copy = folder.path().join("copy");
    held.copy(&copy, None).unwrap();
    assert!(copy.join("global/pg_control").is_file() && !copy.join("postmaster.opts").exists());
    let mode = std::fs::metadata(store.entries().join("a")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o700);
    let mode = std::fs::metadata(store.entries().join("a/entry.json")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_server_that_was_not_stopped_is_not_kept() {
    let (folder, store) = store();
    let error = store.put(entry("a"), (&data(folder.path(), 6), None), &[]).unwrap_err();
    assert!(error.to_string().contains("not stopped cleanly"), "{error}");
    let running = data(folder.path(), 1);
    std::fs::write(running.join("postmaster.pid"), "1").unwrap();
    assert!(store.put(entry("a"), (&running, None), &[]).is_err());
    assert!(matches!(store.find("a"), Found::Absent));
}

#[test]
fn damage_is_noticed() {
    let (folder, store) = store();
    let cut = |path: PathBuf| File::create(path).unwrap().write_all(b"15").unwrap();
    store.put(entry("cut"), (&data(folder.path(), 1), None), &[]).unwrap();
    cut(store.entries().join("cut/data/PG_VERSION"));
    let Found::Held(held) = store.find("cut") else { panic!("it was kept") };
    let error = held.copy(&folder.path().join("copy"), None).unwrap_err();
    assert_eq!(error.to_string(), DAMAGED);
    drop(held);
    std::fs::write(store.entries().join("cut/verified"), "another boot").unwrap();
    assert!(matches!(store.find("cut"), Found::Discarded(_)));
    assert!(matches!(store.find("cut"), Found::Absent), "it is gone");

    // Of the same size: as a crash of the machine leaves files.
    store.put(entry("crash"), (&data(folder.path(), 1), None), &[]).unwrap();
    std::fs::write(store.entries().join("crash/data/PG_VERSION"), "\0\0\0").unwrap();
    std::fs::write(store.entries().join("crash/verified"), "another boot").unwrap();
    assert!(matches!(store.find("crash"), Found::Discarded(_)));

    store.put(entry("boot"), (&data(folder.path(), 1), None), &[]).unwrap();
    std::fs::write(store.entries().join("boot/verified"), "another boot").unwrap();
    assert!(matches!(store.find("boot"), Found::Held(_)), "it is whole");
}

#[test]
fn the_least_used_go_first_and_none_that_is_in_use() {
    let (folder, store) = store();
    let data = data(folder.path(), 1);
    let old = SystemTime::now() - Duration::from_mins(1);
    for (key, age) in [("a", 0), ("b", 1), ("c", 2)] {
        store.put(entry(key), (&data, None), &[]).unwrap();
        let file = File::options().write(true).open(store.entries().join(key).join("entry.json")).unwrap();
        file.set_modified(old + Duration::from_secs(age)).unwrap();
    }
    let Found::Held(in_use) = store.find("a") else { panic!("it was kept") };
    assert_eq!(store.prune(23), (2, 46), "the one that was just used stays");
    assert_eq!(store.prune(0), (0, 0), "somebody copies from it");
    drop(in_use);
    assert_eq!(store.prune(0), (1, 23));
    assert_eq!(directories(&store), 0);
}

#[test]
fn what_a_killed_process_left_goes_and_what_is_being_written_stays() {
    let (_folder, store) = store();
    store.prepare().unwrap();
    std::fs::create_dir(store.entries().join("new-dead-1-0")).unwrap();
    let unfinished = Unfinished::create(&store.entries(), "live").unwrap();
    store.prune(0);
    assert!(unfinished.path.is_dir());
    assert_eq!(directories(&store), 1);
    drop(unfinished);
    assert_eq!(directories(&store), 0);
}

#[test]
fn many_at_once_keep_one() {
    let (folder, store) = store();
    let data = data(folder.path(), 1);
    let barrier = Barrier::new(20);
    std::thread::scope(|scope| {
        for number in 0..20 {
            let (store, data, barrier) = (&store, &data, &barrier);
            let copy = folder.path().join(format!("copy-{number}"));
            scope.spawn(move || {
                barrier.wait();
                store.put(entry("a"), (data, None), &[]).unwrap();
                if number % 4 == 0 {
                    store.prune(0);
                } else if let Found::Held(held) = store.find("a") {
                    held.copy(&copy, None).unwrap();
                    assert_eq!(Tree::list(&copy).unwrap().size(Turn::Fair).unwrap(), held.entry.size);
                }
            });
        }
    });
    store.put(entry("a"), (&data, None), &[]).unwrap();
    assert!(matches!(store.find("a"), Found::Held(_)));
    assert_eq!(directories(&store), 1);
}
