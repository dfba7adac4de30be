//! Clusters.

use std::collections::BTreeMap;

use futures::FutureExt;
use rhai::Dynamic;

use super::data::deployable_name;
use super::{DONE, Done};
use crate::run::{Failure, Kind};
use crate::script::{Arguments, Call, Family, Opt, Param, Primitive, Reach, Run, Type};
use crate::targets::{Cluster, ClusterRequest};

pub(super) const TABLE: &[Primitive] = &[
    Primitive {
        name: "create_cluster",
        family: Family::Cluster,
        reach: Reach::Run,
        params: &[Param::new("name", Type::String), Param::options()],
        options: &[
            Opt::new(
                "namespace",
                Type::String,
                "the namespace to deploy to; the cluster's name when left out",
            ),
            Opt::with_default("nodes", Type::Positive, "1", "how many nodes; the first is the control plane"),
            Opt::new(
                "ports",
                Type::PortMap,
                "ports of the node and of this machine, as in #{ \"30080\": 8080 }",
            ),
            Opt::new("mounts", Type::StringMap, "paths in the nodes and what of this machine is found there")
                .reaching(Reach::Machine),
            Opt::new("patches", Type::Strings, "patches of kubeadm's configuration, in YAML")
                .reaching(Reach::Machine),
            Opt::new("config", Type::String, "a configuration file of kind, instead of the four above")
                .reaching(Reach::Machine),
            Opt::new("image", Type::String, "the image of the nodes; kind's own when left out"),
            Opt::new(
                "images",
                Type::Strings,
                "images that will be deployed, got ready while the cluster is made",
            ),
            Opt::with_default(
                "reuse",
                Type::Bool,
                "false",
                "take the cluster of this name if it is there, and leave it there",
            ),
            Opt::with_default("timeout", Type::Duration, "5m", "how long it may take"),
        ],
        returns: "Cluster",
        doc: "Makes the place that databases and services are deployed to.\n\n\
              On the local target that is the run's own directory and supervisor, which exist already. On `kind` it \
              is a cluster of the run's own, taken down with it, whose name has the end of the run's added; with \
              `reuse` it is called just so, stays for the next run, and gets a namespace for each run. On \
              `kube:CONTEXT` it is a namespace of the cluster that is there, and the options for nodes mean nothing. \
              The handle has `name`, `namespace` and `kubeconfig`.",
        example: r#"let cluster = create_cluster("demo");
print(cluster.name);"#,
        run: Run::Step(|call, args| create_cluster(call, args).boxed()),
    },
    Primitive {
        name: "create_namespace",
        family: Family::Cluster,
        reach: Reach::Run,
        params: &[Param::new("cluster", Type::Handle("Cluster")), Param::new("name", Type::String)],
        options: &[],
        returns: "Cluster",
        doc: "Makes a further namespace, and returns the cluster with it as the place to deploy to.\n\n\
              On the local target, which has no namespaces, it is the same place.",
        example: r#"let cluster = create_cluster("demo");
let tools = create_namespace(cluster, "tools");
print(tools.namespace);"#,
        run: Run::Step(|call, args| create_namespace(call, args).boxed()),
    },
    Primitive {
        name: "delete_cluster",
        family: Family::Cluster,
        reach: Reach::Run,
        params: &[Param::new("cluster", Type::Handle("Cluster"))],
        options: &[],
        returns: "",
        doc: "Takes down everything that was deployed to a cluster, and the cluster.\n\n\
              Not needed at the end of a recipe: recipe takes an environment down by itself.",
        example: r#"let cluster = create_cluster("demo");
deploy_redis(cluster);
delete_cluster(cluster);"#,
        run: Run::Step(|call, args| delete_cluster(call, args).boxed()),
    },
];

async fn create_cluster(call: Call, args: Arguments) -> Done {
    let environment = &call.host().environment;
    let request = ClusterRequest {
        name: deployable_name(&args)?,
        namespace: args.string("namespace"),
        config: args.string("config").map(|path| environment.path(&path)).transpose()?,
        image: args.string("image"),
        nodes: args.count("nodes").unwrap_or(1),
        ports: node_ports(args.port_map("ports"))?,
        mounts: args.string_map("mounts"),
        patches: args.strings("patches").unwrap_or_default(),
        images: args.strings("images").unwrap_or_default(),
        reuse: args.flag("reuse"),
        timeout: args.duration("timeout").unwrap_or_default(),
    };
    let shaped = request.nodes > 1
        || !(request.ports.is_empty() && request.mounts.is_empty() && request.patches.is_empty());
    if request.config.is_some() && shaped {
        let what = "option `config` stands instead of `nodes`, `ports`, `mounts` and `patches`";
        return Err(Failure::new(Kind::Usage, what).hint("write them into the configuration file"));
    }
    Ok(Dynamic::from(environment.target.create_cluster(&call.step, request).await?))
}

/// The ports of a node, which are the keys of a map and so were text.
fn node_ports(ports: BTreeMap<String, u16>) -> Result<BTreeMap<u16, u16>, Failure> {
    let number = |(node, host): (String, u16)| match node.parse() {
        Ok(node) => Ok((node, host)),
        Err(_) => Err(Failure::new(Kind::Usage, format!("option `ports` has `{node}` where a port is due"))
            .hint("write the node's port first, as in #{ \"30080\": 8080 }")),
    };
    ports.into_iter().map(number).collect()
}

async fn create_namespace(call: Call, args: Arguments) -> Done {
    let cluster = args.the::<Cluster>("cluster");
    let target = &call.host().environment.target;
    Ok(Dynamic::from(target.create_namespace(&call.step, &cluster, deployable_name(&args)?).await?))
}

async fn delete_cluster(call: Call, args: Arguments) -> Done {
    let cluster = args.the::<Cluster>("cluster");
    call.host().environment.target.delete_cluster(&call.step, &cluster).await?;
    DONE
}
