//! Runs beside each other, runs that are killed, and a disk that is full.

use super::*;

#[test]
fn twenty_runs_share_what_is_kept() {
    within_a_day(|| {
        let together = "write_file(\"up/\" + run_id(), \"\");\n\
            wait_for(\"the others\", || sh(\"ls up | wc -l\").stdout.trim().parse_int() >= 20, #{ timeout: \"5m\" });\n";
        let deploy =
            DEPLOY.replace("\"c\")", "\"c\"), #{ timeout: \"5m\", settings: #{ shared_buffers: \"16MB\" } }");
        let sandbox = sandbox(&format!("{together}{deploy}{MIGRATE}{DUMP}"));
        // Cold, then warm.
        for hits in [false, true] {
            let _ = std::fs::remove_dir_all(sandbox.path().join("up"));
            let runs: Vec<_> = (0..20)
                .map(|_| {
                    let mut run = sandbox.command(["run", "--rm", "-q", "--output", "json", "recipe.rhai"]);
                    run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
                })
                .collect();
            let mut dumps = Vec::new();
            for run in runs {
                let output = Output::from(run.wait_with_output().unwrap()).success();
                let summary: Value = serde_json::from_str(&output.stdout).unwrap();
                let steps = summary["steps"].as_array().unwrap();
                let step = steps.iter().find(|step| step["primitive"] == "migrate").unwrap();
                assert!(!hits || step["cache"]["hit"] == true, "{step}");
                dumps.push(summary["outputs"]["dump"].clone());
            }
            dumps.dedup();
            assert_eq!(dumps.len(), 1);
            assert!(!unfinished(&sandbox) && entries(&sandbox).len() == 2, "{:?}", entries(&sandbox));
        }
        sandbox.assert_nothing_left();
    });
}

#[test]
fn killed_while_keeping_leaves_nothing_bad() {
    within_a_day(|| {
        let dump = {
            let sandbox = sandbox(&format!("{DEPLOY}{MIGRATE}{DUMP}"));
            run(&sandbox, &["--no-cache"]).outputs["dump"].clone()
        };
        let moments: [(&str, Moment); 3] = [
            ("the set-up is done", |_| true),
            ("it is written", |sandbox| !entries(sandbox).is_empty()),
            ("one is there", |sandbox| {
                entries(sandbox).iter().any(|path| !path.to_string_lossy().contains("/new-"))
            }),
        ];
        for (what, moment) in moments {
            let sandbox = sandbox(&format!("{DEPLOY}{MIGRATE}{DUMP}"));
            let mut live = sandbox.start(&["--rm"]);
            live.kind("setup_finished");
            eventually(what, || moment(&sandbox));
            live.signal(Signal::SIGKILL);
            live.end();
            eventually("the end of its servers", || sandbox.processes().is_empty());
            for _ in 0..2 {
                assert_eq!(run(&sandbox, &[]).outputs["dump"], dump, "{what}");
            }
            assert!(run(&sandbox, &[]).hit("migrate"), "{what}");
            assert!(!unfinished(&sandbox), "{:?}", entries(&sandbox));
        }
    });
}

/// A mount that is gone with this.
struct Tmpfs(PathBuf);

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn full_disk_means_no_cache() {
    let sandbox = sandbox(&format!("{DEPLOY}{MIGRATE}{DUMP}"));
    let disk = sandbox.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=20m", "none"]).arg(&disk).status();
    assert!(mounted.unwrap().success(), "mounting takes root: leave this test out with `--skip full_disk`");
    let _disk = Tmpfs(disk.clone());
    let sandbox = sandbox.env("RECIPE_CACHE_DIR", &disk);
    for _ in 0..2 {
        let seen = run(&sandbox, &[]);
        seen.missed("deploy_postgres", "nothing cached yet");
        assert!(seen.stderr.contains("databases are not kept for later runs: "), "{}", seen.stderr);
        assert!(seen.stderr.contains("MB left"), "{}", seen.stderr);
    }
}
