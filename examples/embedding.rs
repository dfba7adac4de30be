//! `recipe` with a primitive of a team's own: what it takes and says stands in
//! one entry, from which its checks, completion and documentation come.
//!
//! ```console
//! $ cargo run --example embedding -- doc deploy_mailbox
//! $ cargo run --example embedding -- run --rm mail.rhai
//! ```

use std::process::ExitCode;

use futures::FutureExt;
use recipe::script::{Arguments, Call, Family, Opt, Param, Primitive, Reach, Run, Type};
use recipe::{Dynamic, Failure, Kind};

static OWN: [Primitive; 1] = [Primitive {
    name: "deploy_mailbox",
    family: Family::Own,
    reach: Reach::Machine,
    params: &[Param::new("name", Type::String), Param::options()],
    options: &[
        Opt::with_default("quota", Type::Positive, "10", "how many mails it takes"),
        Opt::with_default("delay", Type::Duration, "0ms", "how long a delivery takes"),
    ],
    returns: "map",
    doc: "Makes a mailbox for tests of notifications.",
    example: r#"let box = deploy_mailbox("orders", #{ quota: 3 });
print(box.address);"#,
    run: Run::Step(|call, args| deploy_mailbox(call, args).boxed()),
}];

async fn deploy_mailbox(call: Call, args: Arguments) -> Result<Dynamic, Failure> {
    let (name, quota) = (args.text("name"), args.count("quota").unwrap_or_default());
    if name.contains('@') {
        return Err(
            Failure::new(Kind::Usage, "a mailbox has a name, not an address").hint("leave out the `@`")
        );
    }
    call.step.waiting("the mail server");
    tokio::time::sleep(args.duration("delay").unwrap_or_default()).await;
    let fields = [("address", format!("{name}@localhost")), ("quota", quota.to_string())];
    Ok(fields
        .map(|(key, value)| (key.into(), Dynamic::from(value)))
        .into_iter()
        .collect::<recipe::Map>()
        .into())
}

fn main() -> ExitCode {
    recipe::main_with(&OWN)
}
