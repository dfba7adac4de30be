//! Images.

use futures::FutureExt;
use rhai::Dynamic;

use super::Done;
use crate::script::{Arguments, Call, Family, Opt, Param, Primitive, Reach, Run, Type};
use crate::targets::{Cluster, Image, ImageRequest};

pub(super) const TABLE: &[Primitive] = &[
    Primitive {
        name: "build_image",
        family: Family::Image,
        reach: Reach::Workspace,
        params: &[Param::new("name", Type::String), Param::options()],
        options: &[
            Opt::new("build", Type::String, "a shell command that builds the program, run in the workspace")
                .reaching(Reach::Machine),
            Opt::new("binary", Type::String, "the path of the program, relative to the workspace"),
            Opt::new("base", Type::String, "the image that targets with containers put the program on"),
            Opt::new(
                "dockerfile",
                Type::String,
                "a Dockerfile to build instead, on targets with a container engine",
            ),
            Opt::new(
                "context",
                Type::String,
                "the folder whose files the Dockerfile can copy; the workspace when left out",
            ),
            Opt::new("args", Type::StringMap, "build arguments of the Dockerfile"),
            Opt::new("target", Type::String, "the stage of the Dockerfile to build; the last when left out"),
            Opt::new(
                "tag",
                Type::String,
                "the image's tag, or its whole reference; one made of its contents when left out",
            ),
            Opt::new("no_cache", Type::Bool, "builds even if nothing has changed"),
        ],
        returns: "Image",
        doc: "Builds what a service runs.\n\n\
              With `build` and `binary` the program is built on this machine: the local target runs it as it is, \
              others put it on `base`. The local target has no container engine and refuses `dockerfile`.\n\n\
              A container image has a tag made of all that it is built from (files, arguments, base images) and is \
              built again only when some of that has changed. `.dockerignore` is respected, and before it \
              `NAME.dockerignore` beside the Dockerfile NAME.",
        example: r##"write_file("target/doc/hello.sh", "#!/bin/sh\necho hello");
let image = build_image("hello", #{ build: "chmod +x target/doc/hello.sh", binary: "target/doc/hello.sh" });
print(image.name);"##,
        run: Run::Step(|call, args| build_image(call, args).boxed()),
    },
    Primitive {
        name: "load_image",
        family: Family::Image,
        reach: Reach::Run,
        params: &[Param::new("cluster", Type::Handle("Cluster")), Param::new("image", Type::Handle("Image"))],
        options: &[],
        returns: "Image",
        doc: "Brings an image to the nodes of a cluster, and returns it.\n\n\
              The local target runs the program from where it was built, so there is nothing to do.",
        example: r#"write_file("target/doc/hi.sh", "echo hi");
let image = build_image("hi", #{ binary: "target/doc/hi.sh" });
let image = load_image(create_cluster("demo"), image);"#,
        run: Run::Step(|call, args| load_image(call, args).boxed()),
    },
];

async fn build_image(call: Call, args: Arguments) -> Done {
    let environment = &call.host().environment;
    for path in ["binary", "dockerfile", "context"] {
        args.string(path).map(|path| environment.path(&path)).transpose()?;
    }
    let request = ImageRequest {
        name: args.text("name"),
        build: args.string("build"),
        binary: args.string("binary").map(Into::into),
        base: args.string("base"),
        dockerfile: args.string("dockerfile").map(Into::into),
        context: args.string("context").map(Into::into),
        args: args.string_map("args"),
        target: args.string("target"),
        tag: args.string("tag"),
        no_cache: args.flag("no_cache"),
        workspace: environment.workspace.clone(),
    };
    let named = request.args.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    call.host().events.secrets().add_named(named);
    Ok(Dynamic::from(environment.target.build_image(&call.step, request).await?))
}

async fn load_image(call: Call, args: Arguments) -> Done {
    let (cluster, image) = (args.the::<Cluster>("cluster"), args.the::<Image>("image"));
    Ok(Dynamic::from(call.host().environment.target.load_image(&call.step, &cluster, &image).await?))
}
