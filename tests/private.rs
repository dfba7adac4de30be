//! What others on this machine see of a run: nothing, and no server.

mod harness;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use harness::Sandbox;

const RECIPE: &str = r#"
let c = create_cluster("c");
let env = parallel(#{ pg: || deploy_postgres(c), redis: || deploy_redis(c) });
let site = deploy_service(c, "site", #{
    command: ["python3", "-m", "http.server", "--bind", "$(HOST)", "$(PORT)"], port: 80, ready: "/",
    files: #{ "secret.conf": "x" },
});
wait_ready(site);
output(#{ url: env.pg.url });
"#;

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn what_a_run_has_is_its_owners() {
    let sandbox = Sandbox::with(RECIPE);
    sandbox.recipe(["run", "recipe.rhai"]).success();
    let folder = sandbox.run_folder();
    for private in [folder.as_path(), folder.parent().unwrap(), &folder.join("logs")] {
        assert_eq!(mode(private), 0o700, "{}", private.display());
    }
    for secret in
        ["run.json", "outputs.json", "variables.json", "values.jsonl", "secrets.jsonl", "journal.jsonl"]
    {
        assert_eq!(mode(&folder.join(secret)), 0o600, "{secret}");
    }
    let scratch = sandbox.scratch().join(format!("recipe-{}", folder.file_name().unwrap().to_str().unwrap()));
    // Servers that run as users of their own pass through, and see no more.
    assert_eq!(mode(&scratch) & 0o066, 0, "{}", scratch.display());
    assert_eq!(mode(&scratch.join("site/files/secret.conf")), 0o600);
    assert_eq!(mode(&scratch.join("redis/redis.conf")), 0o600);
    assert_eq!(mode(&scratch.join("postgres/data")), 0o700);

    let sockets = sockets(&sandbox);
    let listening: Vec<_> = listening().into_iter().filter(|(_, inode)| sockets.contains(inode)).collect();
    assert!(listening.len() >= 3, "{listening:?}");
    for (address, _) in listening {
        assert!(address.starts_with("0100007F:"), "a server listens on {address}, not on 127.0.0.1");
    }
    sandbox.recipe(["down"]).success();
}

/// The sockets of the sandbox's processes, by their inodes.
fn sockets(sandbox: &Sandbox) -> BTreeSet<String> {
    let processes = sandbox.processes();
    let pids = processes.iter().filter_map(|process| process.split_whitespace().next());
    let files =
        pids.flat_map(|pid| std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten());
    let links = files.filter_map(|file| Some(std::fs::read_link(file.path()).ok()?.to_str()?.to_owned()));
    links.filter_map(|link| Some(link.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())).collect()
}

/// Addresses that are listened on, as Linux writes them, and inodes of the sockets.
fn listening() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = std::fs::read_to_string(table).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<_> = line.split_whitespace().collect();
            if fields[3] == "0A" {
                all.push((fields[1].to_owned(), fields[9].to_owned()));
            }
        }
    }
    all
}
