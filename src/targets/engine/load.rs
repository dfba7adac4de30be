//! Bringing images into the nodes of a cluster.
//!
//! Each node is asked first what its containerd has. What it lacks is sent to
//! all nodes at once, in one archive that is made while it is read: the layers
//! of programs from their files, all others from one export of the engine.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;

use futures::future::{join_all, try_join_all};
use futures::{StreamExt, TryFutureExt, TryStreamExt};
use hyper::body::Bytes;
use tokio::sync::mpsc;

use super::export::{self, Chunks, Exported};
use super::layers::Layers;
use super::layout::{self, Lane, Lanes, blob_name};
use super::node::Contents;
use super::wanted::{Wanted, kept_config};
use super::{Engine, Node, archive, panicked, reference};
use crate::run::{Failure, Kind, Step};

/// Chunks on their way to a node: enough for it to write while more is read.
const WAITING: usize = 16;

/// What a load did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Bytes of blobs sent, over all nodes.
    pub sent_bytes: u64,
    /// Bytes of layers that the nodes had already.
    pub saved_bytes: u64,
    /// What each node got.
    pub nodes: Vec<NodeLoad>,
}

/// What a load brought into one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeLoad {
    /// The node.
    pub node: Node,
    /// Bytes of blobs sent.
    pub sent_bytes: u64,
    /// Bytes of layers that it had.
    pub saved_bytes: u64,
    /// Layers that the images have.
    pub layers: usize,
    /// How many of them it had.
    pub had: usize,
}

impl Engine {
    /// Brings images into nodes: only the layers that a node lacks, to all
    /// nodes at once. References are those of the engine.
    ///
    /// # Errors
    /// When the engine has no such image, or a node does not take it.
    pub async fn load(&self, step: &Step, nodes: &[Node], images: &[String]) -> Result<Loaded, Failure> {
        let wanted = try_join_all(images.iter().map(|image| self.wanted(image))).await?;
        self.load_wanted(step, nodes, wanted).await
    }

    pub(super) async fn load_wanted(
        &self,
        step: &Step,
        nodes: &[Node],
        wanted: Vec<Wanted>,
    ) -> Result<Loaded, Failure> {
        step.waiting("what the nodes have already");
        let wanted = Arc::new(wanted);
        let names: Vec<_> =
            wanted.iter().flat_map(|image| [image.name.clone(), image.facts.id.clone()]).collect();
        let contents = try_join_all(nodes.iter().map(|node| self.look_into(node, &names))).await?;
        let mut loaded = Loaded::default();
        let mut lacking = Vec::new();
        for (node, contents) in nodes.iter().zip(&contents) {
            let images: Vec<_> = (0..wanted.len()).filter(|i| !wanted[*i].is_in(contents)).collect();
            loaded.nodes.push(saved(node, contents, &wanted));
            if !images.is_empty() {
                lacking.push((node.clone(), contents.clone(), images));
            }
        }
        if !lacking.is_empty() {
            let sent = self.send(step, &wanted, lacking).await?;
            for (node, sent) in sent {
                if let Some(found) = loaded.nodes.iter_mut().find(|one| one.node == node) {
                    found.sent_bytes = sent;
                }
            }
        }
        loaded.sent_bytes = loaded.nodes.iter().map(|node| node.sent_bytes).sum();
        loaded.saved_bytes = loaded.nodes.iter().map(|node| node.saved_bytes).sum();
        step.progress(loaded.sent_bytes, Some(loaded.sent_bytes), "bytes");
        let (hit, why) = loaded.words();
        step.cache(hit, why);
        Ok(loaded)
    }

    async fn wanted(&self, image: &str) -> Result<Wanted, Failure> {
        self.prepared(image).await;
        let Some(facts) = self.inspect(image).await? else {
            return Err(Failure::new(Kind::NotFound, format!("the engine has no image {image} to load"))
                .hint("build it first, or pull it"));
        };
        let program = self.remembered(&facts.id);
        let config = match &program {
            Some(program) => Some(program.config.clone()),
            None => kept_config(&facts.id),
        };
        Ok(Wanted { name: reference::normalised(image), facts, program, config })
    }

    /// Sends images to nodes that lack them. A node whose blobs vanish while
    /// they are relied on, as its garbage is collected, gets all of them.
    async fn send(
        &self,
        step: &Step,
        wanted: &Arc<Vec<Wanted>>,
        lacking: Vec<(Node, Contents, Vec<usize>)>,
    ) -> Result<Vec<(Node, u64)>, Failure> {
        let mut done = Vec::new();
        let mut again = Vec::new();
        for (outcome, (node, contents, images)) in
            self.try_send(step, wanted, &lacking, Layers::default()).await?.into_iter().zip(&lacking)
        {
            match outcome {
                Ok(sent) => done.push((node.clone(), sent)),
                Err(failure) if !is_of_contents(&failure) => return Err(failure),
                Err(failure) => {
                    tracing::debug!(%failure, node = node.container, "all layers are sent again");
                    let nothing =
                        Contents { snapshotter: contents.snapshotter.clone(), ..Contents::default() };
                    again.push((node.clone(), nothing, images.clone()));
                }
            }
        }
        if !again.is_empty() {
            let outcomes = self.try_send(step, wanted, &again, Layers::none()).await?;
            for (outcome, (node, ..)) in outcomes.into_iter().zip(&again) {
                done.push((node.clone(), outcome?));
            }
        }
        Ok(done)
    }

    /// Sends once. The outer failure is of the source, an inner one of a node.
    async fn try_send(
        &self,
        step: &Step,
        wanted: &Arc<Vec<Wanted>>,
        lacking: &[(Node, Contents, Vec<usize>)],
        kept: Layers,
    ) -> Result<Vec<Result<u64, Failure>>, Failure> {
        step.waiting("the nodes, which take the images");
        let mut lanes = Vec::new();
        let mut imports = Vec::new();
        let mut exported = HashSet::new();
        for (node, contents, images) in lacking {
            let (sender, receiver) = mpsc::channel(WAITING);
            exported.extend(images.iter().copied().filter(|i| !wanted[*i].is_at_hand(contents, &kept)));
            imports.push(self.import(node, &contents.snapshotter, receiver));
            let (sent, has) = (HashMap::new(), contents.blobs.clone());
            lanes.push(Lane { has, images: images.clone(), sender, sent, sent_bytes: 0 });
        }
        let exports: Vec<_> = exported.iter().map(|i| wanted[*i].facts.id.clone()).collect();
        let (ask, asked) = mpsc::channel(1);
        let mut source = Source { wanted: wanted.clone(), exported, ask, kept };
        let lanes = Lanes::new(lanes, step.clone());
        let sending =
            async { tokio::task::spawn_blocking(move || source.send(lanes)).await.map_err(panicked) };
        let (sent, imported, ()) =
            tokio::join!(sending, join_all(imports), self.serve_exports(&exports, asked));
        let outcomes = match sent? {
            Ok(sent) => imported.into_iter().zip(sent).map(|(done, sent)| done.map(|()| sent)).collect(),
            // Its nodes have ended, and say why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                imported.into_iter().map(|done| done.map(|()| 0)).collect()
            }
            Err(error) => {
                return Err(Failure::new(Kind::Io, "the images cannot be sent to the nodes")
                    .cause(error)
                    .hint("load them again when nothing changes the program"));
            }
        };
        Ok(outcomes)
    }

    /// Exports images as often as it is asked to, into the channel that comes.
    pub(super) async fn serve_exports(
        &self,
        ids: &[String],
        mut asked: mpsc::Receiver<mpsc::Sender<io::Result<Bytes>>>,
    ) {
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        while let Some(chunks) = asked.recv().await {
            let export = async { Ok(self.worked().await?.export_images(&ids)) }.try_flatten_stream();
            let mut export = export.map_err(io::Error::other).boxed();
            while let Some(chunk) = export.next().await {
                if chunks.send(chunk).await.is_err() {
                    break;
                }
            }
        }
    }
}

/// Where the bytes come from.
struct Source {
    wanted: Arc<Vec<Wanted>>,
    /// The images that need an export.
    exported: HashSet<usize>,
    ask: mpsc::Sender<mpsc::Sender<io::Result<Bytes>>>,
    /// Layers of earlier exports.
    kept: Layers,
}

impl Source {
    /// Writes the archives of all lanes. Returns the bytes of blobs sent.
    fn send(&mut self, mut lanes: Lanes) -> io::Result<Vec<u64>> {
        self.send_at_hand(&mut lanes)?;
        let mut exported = Exported::default();
        if !self.exported.is_empty() {
            let mut layers: HashMap<String, Vec<usize>> = HashMap::new();
            for i in &self.exported {
                for layer in &self.wanted[*i].facts.diff_ids {
                    layers.entry(layer.clone()).or_default().push(*i);
                }
            }
            exported = export::pass_on(self.export()?, &mut lanes, &layers, &self.kept, false)?;
            if exported.index.is_none() && !export::owed(&lanes, &layers).is_empty() {
                export::pass_on(self.export()?, &mut lanes, &layers, &self.kept, true)?;
            }
        }
        for i in &self.exported {
            let id = &self.wanted[*i].facts.id;
            if let Some(config) = exported.small.get(id) {
                export::keep_small(&self.kept, id, config);
            }
        }
        for i in 0..lanes.all.len() {
            self.close(&mut lanes, i, &exported)?;
        }
        Ok(lanes.all.iter().map(|lane| lane.sent_bytes).collect())
    }

    fn export(&self) -> io::Result<Chunks> {
        let (sender, receiver) = mpsc::channel(WAITING);
        self.ask.blocking_send(sender).map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(Chunks::new(receiver))
    }

    /// Sends the layers that need no export.
    fn send_at_hand(&self, lanes: &mut Lanes) -> io::Result<()> {
        for (i, image) in self.wanted.iter().enumerate().filter(|(i, _)| !self.exported.contains(i)) {
            for layer in &image.facts.diff_ids {
                let to = lanes.lacking(layer, |lane| lane.images.contains(&i));
                if to.is_empty() {
                    continue;
                }
                if let (Some(size), Some(program)) = (image.own_size(layer), &image.program) {
                    lanes.begin(to, &blob_name(layer), size)?;
                    archive::write(&program.entries, lanes)?;
                    lanes.end(size, Some(layer))?;
                } else if let Some(mut file) = self.kept.open(layer) {
                    let size = file.metadata()?.len();
                    lanes.begin(to, &blob_name(layer), size)?;
                    io::copy(&mut file, lanes)?;
                    lanes.end(size, Some(layer))?;
                }
            }
        }
        Ok(())
    }

    /// Sends configurations and manifests to a lane, and ends its archive.
    fn close(&self, lanes: &mut Lanes, lane: usize, exported: &Exported) -> io::Result<()> {
        let mut images = Vec::new();
        for i in lanes.all[lane].images.clone() {
            let image = &self.wanted[i];
            let at_hand = image.config.as_ref().filter(|_| !self.exported.contains(&i));
            let config = at_hand.or_else(|| exported.small.get(&image.facts.id));
            // An engine on containerd's store knows images by their manifests.
            let (Some(config), has) = (config, &lanes.all[lane].has) else {
                return forward(lanes, lane, exported);
            };
            let size = |digest: &str| {
                let known = [image.own_size(digest), exported.sizes.get(digest).copied()];
                let known = known.into_iter().flatten().next();
                known.or_else(|| has.get(digest).copied()).or_else(|| self.kept.size(digest))
            };
            let Some(manifest) = image.manifest(config.len() as u64, size) else {
                return Err(io::Error::other(format!("the export lacks a layer of {}", image.name)));
            };
            lanes.blob(vec![lane], config)?;
            let digest = lanes.blob(vec![lane], &manifest)?;
            images.push((image.name.clone(), digest, manifest.len() as u64));
        }
        lanes.close(lane, &layout::index(&images))
    }
}

/// Whether a node refused the images for what they lack, rather than for its
/// own state.
fn is_of_contents(failure: &Failure) -> bool {
    failure.evidence.iter().any(|line| line.contains("not found") || line.contains("digest"))
}

/// Forwards the export's own manifests, whose large blobs have been sent.
fn forward(lanes: &mut Lanes, lane: usize, exported: &Exported) -> io::Result<()> {
    let Some(index) = &exported.index else {
        return Err(io::Error::other("the engine's export lacks the configuration of an image"));
    };
    for bytes in exported.small.values() {
        lanes.blob(vec![lane], bytes)?;
    }
    lanes.close(lane, index)
}

/// What a node has of the images' layers.
fn saved(node: &Node, contents: &Contents, wanted: &[Wanted]) -> NodeLoad {
    let layers: HashSet<_> = wanted.iter().flat_map(|image| &image.facts.diff_ids).collect();
    let had: Vec<_> = layers.iter().filter_map(|layer| contents.blobs.get(*layer)).collect();
    NodeLoad {
        node: node.clone(),
        sent_bytes: 0,
        saved_bytes: had.iter().copied().sum(),
        layers: layers.len(),
        had: had.len(),
    }
}

impl Loaded {
    /// Whether anything was saved, and what, for people.
    fn words(&self) -> (bool, String) {
        let sum = |part: fn(&NodeLoad) -> usize| self.nodes.iter().map(part).sum::<usize>();
        let (had, layers) = (sum(|node| node.had), sum(|node| node.layers));
        let place =
            if self.nodes.len() == 1 { "the node".to_owned() } else { format!("{} nodes", self.nodes.len()) };
        let (sent, saved) = (megabytes(self.sent_bytes), megabytes(self.saved_bytes));
        match (self.sent_bytes, had) {
            (0, _) => (true, format!("already in {place}")),
            (_, 0) => (false, format!("no layer was in {place}: {sent} sent")),
            _ => (true, format!("{had} of {layers} layers were in {place}: {sent} sent, {saved} saved")),
        }
    }
}

fn megabytes(bytes: u64) -> String {
    let tenths = bytes / 100_000;
    if tenths < 100 { format!("{}.{} MB", tenths / 10, tenths % 10) } else { format!("{} MB", tenths / 10) }
}
