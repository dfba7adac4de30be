//! Clusters.

use futures::FutureExt;
use rhai::Dynamic;

use super::{DONE, Done};
use crate::script::{Arguments, Call, Family, Param, Primitive, Run, Type};
use crate::targets::{Cluster, ClusterRequest};

pub(super) const TABLE: &[Primitive] = &[
    Primitive {
        name: "create_cluster",
        family: Family::Cluster,
        params: &[Param::new("name", Type::String)],
        options: &[],
        returns: "Cluster",
        doc: "Makes the place that databases and services are deployed to.\n\n\
              On the local target that is the run's own directory and supervisor, which exist already.",
        example: r#"let cluster = create_cluster("demo");
print(cluster.name);"#,
        run: Run::Step(|call, args| create_cluster(call, args).boxed()),
    },
    Primitive {
        name: "delete_cluster",
        family: Family::Cluster,
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
    let request = ClusterRequest { name: args.text("name") };
    let target = &call.host().environment.target;
    Ok(Dynamic::from(target.create_cluster(&call.step, request).await?))
}

async fn delete_cluster(call: Call, args: Arguments) -> Done {
    let cluster = args.the::<Cluster>("cluster");
    call.host().environment.target.delete_cluster(&call.step, &cluster).await?;
    DONE
}
