use std::time::Instant;

use super::*;
use crate::run::{Dispatcher, Secrets, Step};

/// Larger than what is kept in memory.
const LARGE: usize = (1 << 20) + 1000;

/// An archive of files, as an engine exports it.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        archive.append_data(&mut header, name, *bytes).unwrap();
    }
    archive.into_inner().unwrap()
}

/// Lanes to nodes that have these blobs, and what arrives at them.
fn lanes(nodes: &[&[&[u8]]]) -> (Lanes, Vec<mpsc::Receiver<Bytes>>) {
    let (all, receivers) = nodes
        .iter()
        .map(|blobs| {
            let has = blobs.iter().map(|bytes| (digest_of(bytes), bytes.len() as u64)).collect();
            // Roomy, so that one thread can fill it and read it after.
            let (sender, receiver) = mpsc::channel(1000);
            (Lane { has, images: vec![0], sender, sent: HashMap::new(), sent_bytes: 0 }, receiver)
        })
        .unzip();
    let dispatcher = Dispatcher::start(Instant::now(), Secrets::default(), Vec::new());
    (Lanes::new(all, Step::new(dispatcher.events(), None, "".into())), receivers)
}

fn needed(layers: &[&[u8]]) -> HashMap<String, Vec<usize>> {
    layers.iter().map(|bytes| (digest_of(bytes), vec![0])).collect()
}

/// Names and contents of what arrived at a node.
fn arrived(mut lanes: Lanes, node: usize, mut receiver: mpsc::Receiver<Bytes>) -> Vec<(String, Vec<u8>)> {
    lanes.close(node, b"{}").unwrap();
    drop(lanes);
    let mut bytes = Vec::new();
    while let Some(chunk) = receiver.blocking_recv() {
        bytes.extend_from_slice(&chunk);
    }
    let mut archive = Archive::new(bytes.as_slice());
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().to_string_lossy().into_owned(), bytes)
    });
    entries.collect()
}

#[test]
fn a_node_gets_the_layers_that_it_lacks() {
    let (base, top, config) = (vec![1; LARGE], vec![2; LARGE + 512], b"{\"config\":1}");
    // As Docker 20.10 names them, as Podman does, and as Docker 25 does.
    let hex = |bytes: &[u8]| digest_of(bytes)["sha256:".len()..].to_owned();
    let namings = [
        ("aa/layer.tar".to_owned(), "bb/layer.tar".to_owned()),
        (format!("{}.tar", hex(&base)), format!("{}.tar", hex(&top))),
        (format!("blobs/sha256/{}", hex(&base)), format!("blobs/sha256/{}", hex(&top))),
    ];
    for (first, second) in namings {
        let export =
            archive(&[(&first, &base), (&second, &top), ("c.json", config), ("manifest.json", b"[]")]);
        let (mut lanes, mut receivers) = lanes(&[&[], &[&base], &[&base, &top]]);
        let layers = needed(&[&base, &top]);
        let exported = pass_on(export.as_slice(), &mut lanes, &layers, &Layers::none(), false).unwrap();
        assert!(owed(&lanes, &layers).is_empty());
        assert_eq!(exported.small[&digest_of(config)].as_ref(), config);
        assert_eq!(exported.sizes[&digest_of(&base)], LARGE as u64);
        let sent: Vec<_> = lanes.all.iter().map(|lane| lane.sent_bytes).collect();
        assert_eq!(sent, [2 * LARGE as u64 + 512, LARGE as u64 + 512, 0], "{first}");
        let bodies: Vec<_> =
            arrived(lanes, 1, receivers.remove(1)).into_iter().map(|(_, body)| body).collect();
        assert_eq!(bodies, [top.clone(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec(), b"{}".to_vec()]);
    }
}

#[test]
fn a_layer_that_only_has_the_size_of_another_is_owed() {
    let (base, top) = (vec![1; LARGE], vec![2; LARGE]);
    let export = archive(&[("aa/layer.tar", &top), ("bb/layer.tar", &base)]);
    let (mut lanes, mut receivers) = lanes(&[&[&base]]);
    let layers = needed(&[&base, &top]);
    pass_on(export.as_slice(), &mut lanes, &layers, &Layers::none(), false).unwrap();
    assert_eq!(owed(&lanes, &layers), HashSet::from([digest_of(&top)]));
    pass_on(export.as_slice(), &mut lanes, &layers, &Layers::none(), true).unwrap();
    assert!(owed(&lanes, &layers).is_empty());
    assert!(arrived(lanes, 0, receivers.remove(0)).iter().any(|(_, body)| *body == top));
}

#[test]
fn a_small_layer_is_told_apart_by_its_digest() {
    let (base, top) = (vec![1; 1024], vec![2; 1024]);
    let export = archive(&[("aa/layer.tar", &top), ("bb/layer.tar", &base)]);
    let (mut lanes, mut receivers) = lanes(&[&[&base]]);
    let layers = needed(&[&base, &top]);
    let exported = pass_on(export.as_slice(), &mut lanes, &layers, &Layers::none(), false).unwrap();
    assert!(owed(&lanes, &layers).is_empty());
    assert_eq!(exported.sizes.len(), 2);
    let (name, body) = arrived(lanes, 0, receivers.remove(0)).remove(0);
    assert_eq!((name, body), (blob_name(&digest_of(&top)), top));
}

#[test]
fn what_no_image_needs_is_not_sent() {
    let (layer, other) = (vec![1; 2048], vec![2; 2048]);
    let export = archive(&[("aa/layer.tar", &layer), ("VERSION", b"1.0"), ("bb/json", &other)]);
    let (mut lanes, mut receivers) = lanes(&[&[]]);
    pass_on(export.as_slice(), &mut lanes, &needed(&[&layer]), &Layers::none(), false).unwrap();
    let names: Vec<_> = arrived(lanes, 0, receivers.remove(0)).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [blob_name(&digest_of(&layer)), "oci-layout".to_owned(), "index.json".to_owned()]);
}

#[test]
fn a_broken_export_is_an_error() {
    let whole = archive(&[("aa/layer.tar", &vec![1; LARGE])]);
    let (mut lanes, _receivers) = lanes(&[&[]]);
    let layers = needed(&[&vec![1; LARGE]]);
    assert!(pass_on(&whole[..LARGE / 2], &mut lanes, &layers, &Layers::none(), false).is_err());
}

#[test]
fn a_node_that_takes_no_more_does_not_stop_the_others() {
    let layer = vec![1; 4 * LARGE];
    let export = archive(&[("aa/layer.tar", &layer)]);
    let (mut lanes, mut receivers) = lanes(&[&[], &[]]);
    drop(receivers.remove(0));
    pass_on(export.as_slice(), &mut lanes, &needed(&[&layer]), &Layers::none(), false).unwrap();
    assert_eq!(lanes.all[0].sent_bytes, 0);
    assert_eq!(arrived(lanes, 1, receivers.remove(0))[0].1, layer);
}
