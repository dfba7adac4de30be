//! A node of a cluster: a container that runs containerd.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecOptions, StartExecResults};
use futures::StreamExt;
use hyper::body::Bytes;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use super::Engine;
use super::failure::{engine_failure, is_absent};
use serde::{Deserialize, Serialize};

use crate::run::child::last_lines;
use crate::run::{Failure, Kind};

/// Where the kubelet's images are.
const NAMESPACE: &str = "k8s.io";
/// What is used where containerd's configuration does not say.
const SNAPSHOTTER: &str = "overlayfs";
/// Between two looks at whether a command that says no more has ended.
const ENDING: Duration = Duration::from_millis(5);

/// A node of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Node {
    /// Name or id of its container.
    pub container: String,
}

/// What a node's containerd has.
#[derive(Debug, Default, Clone)]
pub(super) struct Contents {
    /// Sizes of blobs in bytes, by their digest with `sha256:`.
    pub blobs: HashMap<String, u64>,
    /// Digests of images' manifests by the images' names, of those asked for.
    pub images: HashMap<String, String>,
    /// How it unpacks images.
    pub snapshotter: String,
}

/// How a command in a node ended.
struct Executed {
    code: i64,
    stdout: String,
    stderr: String,
}

impl Engine {
    /// Looks into a node's containerd, for these images among others.
    pub(super) async fn look_into(&self, node: &Node, images: &[String]) -> Result<Contents, Failure> {
        let mut names = String::new();
        for image in images {
            // JSON's quotes are those of containerd's filters.
            let _ = write!(names, " 'name=={}'", serde_json::Value::from(image.as_str()));
        }
        // The sizes of blobs are those of their files: `ctr` rounds them.
        let script = format!(
            "set -e\n\
             config=$(containerd config dump 2>/dev/null || true)\n\
             root=$(printf '%s' \"$config\" | sed -n \"s/^root = ['\\\"]\\(.*\\)['\\\"]/\\1/p\")\n\
             printf '%s' \"$config\" | sed -n \"s/^ *snapshotter = ['\\\"]\\(.*\\)['\\\"]/snapshotter \\1/p\"\n\
             ctr -n {NAMESPACE} content ls -q | sed 's/^/blob /'\n\
             ctr -n {NAMESPACE} images ls{names} | sed 's/^/image /'\n\
             cd \"${{root:-/var/lib/containerd}}/io.containerd.content.v1.content/blobs/sha256\"\n\
             find . -type f -exec stat -c 'size %n %s' '{{}}' +\n"
        );
        let command = ["sh".to_owned(), "-c".to_owned(), script];
        let looked = self.execute(node, &command, None).await?;
        if looked.code != 0 {
            let what = format!("the containerd of node {} does not say what it has", node.container);
            return Err(Failure::new(Kind::Command, what)
                .evidence(last_lines(&looked.stderr, 10))
                .hint("is it a running node of a kind cluster?"));
        }
        Ok(read(&looked.stdout))
    }

    /// Imports the images of an archive that comes in chunks. Ends when the
    /// node has read all of it and unpacked the images.
    pub(super) async fn import(
        &self,
        node: &Node,
        snapshotter: &str,
        archive: mpsc::Receiver<Bytes>,
    ) -> Result<(), Failure> {
        let command = [
            "ctr",
            "-n",
            NAMESPACE,
            "images",
            "import",
            "--all-platforms",
            "--snapshotter",
            snapshotter,
            "-",
        ];
        let imported = self.execute(node, &command.map(str::to_owned), Some(archive)).await?;
        if imported.code == 0 {
            return Ok(());
        }
        let what = format!("node {} does not take the images", node.container);
        Err(Failure::new(Kind::Command, what)
            .evidence(last_lines(&imported.stderr, 10))
            .hint("is its disk full? `docker exec NODE df -h /var` tells"))
    }

    async fn execute(
        &self,
        node: &Node,
        command: &[String],
        input: Option<mpsc::Receiver<Bytes>>,
    ) -> Result<Executed, Failure> {
        let failed = |error| {
            if is_absent(&error) {
                let what = format!("there is no node {}", node.container);
                return engine_failure(&what, error).hint("was the cluster deleted meanwhile?");
            }
            engine_failure(&format!("nothing can be run in node {}", node.container), error)
        };
        let options = CreateExecOptions {
            attach_stdin: Some(input.is_some()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command.to_vec()),
            ..CreateExecOptions::default()
        };
        let asked = self.asked().await.map_err(failed)?;
        let created = asked.create_exec(&node.container, options).await.map_err(failed)?;
        let started = asked.start_exec(&created.id, None::<StartExecOptions>).await.map_err(failed)?;
        let StartExecResults::Attached { mut output, input: mut stdin } = started else {
            return Err(Failure::new(Kind::Bug, "a command in a node was detached"));
        };
        let feed = async {
            let Some(mut chunks) = input else { return };
            while let Some(chunk) = chunks.recv().await {
                // A command that reads no more says why by its code and output.
                if stdin.write_all(&chunk).await.is_err() {
                    return;
                }
            }
            let _ = stdin.shutdown().await;
        };
        let listen = async {
            let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
            while let Some(said) = output.next().await {
                match said? {
                    LogOutput::StdErr { message } => stderr.extend_from_slice(&message),
                    said => stdout.extend_from_slice(&said.into_bytes()),
                }
            }
            Ok::<_, bollard::errors::Error>((stdout, stderr))
        };
        // What is not read any more need not be fed any more.
        let mut feed = std::pin::pin!(feed);
        let mut listen = std::pin::pin!(listen);
        let heard = tokio::select! {
            heard = &mut listen => heard,
            () = &mut feed => listen.await,
        };
        let (stdout, stderr) = heard.map_err(failed)?;
        // The engine may close the streams before it has noted how it ended.
        let code = loop {
            let ended = asked.inspect_exec(&created.id).await.map_err(failed)?;
            match ended.exit_code {
                Some(code) if ended.running != Some(true) => break code,
                _ => tokio::time::sleep(ENDING).await,
            }
        };
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Executed { code, stdout: text(stdout), stderr: text(stderr) })
    }
}

/// Reads what the script of [`Engine::look_into`] prints.
fn read(text: &str) -> Contents {
    let mut contents = Contents { snapshotter: SNAPSHOTTER.to_owned(), ..Contents::default() };
    let mut sizes = HashMap::new();
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["snapshotter", name] => name.clone_into(&mut contents.snapshotter),
            ["blob", digest] => {
                contents.blobs.insert(digest.to_owned(), 0);
            }
            // Columns: name, media type, digest, and more.
            ["image", name, _, digest, ..] if digest.starts_with("sha256:") => {
                contents.images.insert(name.to_owned(), digest.to_owned());
            }
            ["size", file, size] => {
                if let Ok(size) = size.parse() {
                    sizes.insert(format!("sha256:{}", file.trim_start_matches("./")), size);
                }
            }
            _ => {}
        }
    }
    // Of the namespace, and whole on the disk.
    contents.blobs = sizes.into_iter().filter(|(digest, _)| contents.blobs.contains_key(digest)).collect();
    contents
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_node_has() {
        let contents = read(
            "snapshotter fuse-overlayfs\n\
             blob sha256:aa\nblob sha256:bb\n\
             image REF TYPE DIGEST SIZE PLATFORMS LABELS\n\
             image docker.io/library/a:1 application/vnd.oci.image.manifest.v1+json sha256:aa 1.0 MiB linux/amd64 -\n\
             size ./aa 7\nsize ./cc 9\n",
        );
        assert_eq!(contents.snapshotter, "fuse-overlayfs");
        assert_eq!(contents.blobs, HashMap::from([("sha256:aa".to_owned(), 7)]));
        assert_eq!(
            contents.images,
            HashMap::from([("docker.io/library/a:1".to_owned(), "sha256:aa".to_owned())])
        );
        assert_eq!(read("").snapshotter, SNAPSHOTTER);
    }
}
