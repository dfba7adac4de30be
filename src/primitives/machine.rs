//! This machine and the run itself.

use std::collections::BTreeMap;
use std::path::Path;

use futures::FutureExt;
use rhai::{Dynamic, Map};

use super::{DONE, Done};
use crate::fault::{self, Seam};
use crate::run::child::{Command, Finished, describe, exit_code};
use crate::run::duration::show;
use crate::run::event::Level;
use crate::run::{Failure, Kind, Secrets, clock, not_executed};
use crate::script::{Arguments, Call, Family, Opt, Param, Primitive, Reach, Run, Type};

pub(super) const TABLE: &[Primitive] = &[
    Primitive {
        name: "sh",
        family: Family::Host,
        reach: Reach::Machine,
        params: &[Param::new("command", Type::String), Param::options()],
        options: &[
            Opt::new("env", Type::StringMap, "environment variables to add"),
            Opt::new("cwd", Type::String, "the directory to run in; the workspace when left out"),
            Opt::new("stdin", Type::String, "text for its standard input"),
            Opt::with_default("check", Type::Bool, "true", "fail when the exit code is not 0"),
            Opt::new("timeout", Type::Duration, "stop it and fail after this time"),
        ],
        returns: "map",
        doc: "Runs a shell command and returns `code`, `stdout` and `stderr`.\n\n\
              Its output is part of the run's events. It runs by `sh -c` in a process group of its own, which ends \
              with it: what should go on running is a service. Secrets are best given by `env`: everybody on the \
              machine sees the arguments of what a command starts.",
        example: r#"let version = sh("uname -s").stdout.trim();
let failed = sh("exit 3", #{ check: false });
print(failed.code);"#,
        run: Run::Step(|call, args| sh(call, args).boxed()),
    },
    Primitive {
        name: "read_file",
        family: Family::Host,
        reach: Reach::Workspace,
        params: &[Param::new("path", Type::String)],
        options: &[],
        returns: "string",
        doc: "Reads a text file; the path is relative to the workspace.",
        example: r#"write_file("target/doc/motd.txt", "welcome");
print(read_file("target/doc/motd.txt"));"#,
        run: Run::Value(read_file),
    },
    Primitive {
        name: "write_file",
        family: Family::Host,
        reach: Reach::Workspace,
        params: &[Param::new("path", Type::String), Param::new("text", Type::String)],
        options: &[],
        returns: "",
        doc: "Writes a text file and the folders it needs, inside the workspace only.",
        example: r#"write_file("target/doc/config.yaml", "port: 80\n");"#,
        run: Run::Value(write_file),
    },
    Primitive {
        name: "env",
        family: Family::Host,
        reach: Reach::Machine,
        params: &[Param::new("name", Type::String), Param::optional("default", Type::Any)],
        options: &[],
        returns: "string",
        doc: "Returns an environment variable of recipe itself.\n\n\
              Without `default` it is an error when the variable is not set.",
        example: r#"print(env("CI", "not in CI"));"#,
        run: Run::Value(env),
    },
    Primitive {
        name: "random_port",
        family: Family::Host,
        reach: Reach::Run,
        params: &[],
        options: &[],
        returns: "int",
        doc: "Reserves a TCP port on 127.0.0.1 that no other run and no server has, for as long as the environment is up.",
        example: "let port = random_port();\nprint(port > 1024);",
        run: Run::Step(|call, args| random_port(call, args).boxed()),
    },
    Primitive {
        name: "random_password",
        family: Family::Host,
        reach: Reach::Run,
        params: &[Param::options()],
        options: &[Opt::with_default("length", Type::Count, "24", "how many letters and digits")],
        returns: "string",
        doc: "Makes a random password, which is masked wherever recipe shows text.",
        example: "let password = random_password(#{ length: 32 });\nprint(password.len());",
        run: Run::Value(random_password),
    },
    Primitive {
        name: "log",
        family: Family::Host,
        reach: Reach::Run,
        params: &[Param::new("message", Type::Any)],
        options: &[],
        returns: "",
        doc: "Tells the person watching. `print` does the same.",
        example: r#"log("the database is ready");"#,
        run: Run::Value(log),
    },
    Primitive {
        name: "target",
        family: Family::Host,
        reach: Reach::Run,
        params: &[],
        options: &[],
        returns: "string",
        doc: "Returns the target: `local`, `kind` or `kube:CONTEXT`.\n\nRecipes that ask are hard to move; \
              most options mean the same everywhere.",
        example: "print(target());",
        run: Run::Value(|call, _| Ok(call.host().environment.target.name().into())),
    },
    Primitive {
        name: "run_id",
        family: Family::Host,
        reach: Reach::Run,
        params: &[],
        options: &[],
        returns: "string",
        doc: "Returns the name of this run, unique on this machine.",
        example: "print(run_id().len() > 0);",
        run: Run::Value(|call, _| Ok(call.host().environment.folder.id.as_str().into())),
    },
];

/// What `sh -c` is given: the list of processes shows it, so that a command that
/// holds a secret goes by a variable, which is gone before the command begins.
fn hidden(
    text: &str,
    mut env: BTreeMap<String, String>,
    secrets: &Secrets,
) -> (String, BTreeMap<String, String>) {
    const VARIABLE: &str = "RECIPE_COMMAND";
    if secrets.masked(text) == text {
        return (text.to_owned(), env);
    }
    env.insert(VARIABLE.to_owned(), text.to_owned());
    (format!("recipe_command=${VARIABLE}; unset {VARIABLE}; eval \"$recipe_command\""), env)
}

async fn sh(call: Call, args: Arguments) -> Done {
    let environment = &call.host().environment;
    let text = args.text("command");
    let (script, env) = hidden(&text, args.string_map("env"), call.host().events.secrets());
    let command = Command {
        program: "sh".into(),
        args: vec!["-c".into(), script.into()],
        env,
        cwd: Some(environment.path(&args.text("cwd"))?),
        stdin: args.string("stdin"),
        ..Command::default()
    };
    let running = environment.children.run(&command, |stream, line| call.step.output(stream, line));
    let finished = match args.duration("timeout") {
        None => running.await,
        Some(limit) => {
            let Ok(finished) = clock::timeout(limit, running).await else {
                // Stopped for good before a `retry` runs it again.
                environment.children.settle().await;
                let what = format!("the command did not end within {} and was stopped", show(limit));
                return Err(Failure::new(Kind::Timeout, what));
            };
            finished
        }
    };
    let finished = finished.map_err(|error| {
        let at = command.cwd.as_deref().unwrap_or(Path::new(".")).display();
        not_executed(&format!("`sh` in {at}"), error)
    })?;
    if finished.left_processes {
        let text = "the command left processes running; they were stopped (deploy_service keeps one running)";
        call.step.message(Level::Warning, text);
    }
    if !finished.status.success() && args.flag("check") {
        let what = format!("the command ended with {}", describe(finished.status));
        return Err(Failure::new(Kind::Command, what).evidence(finished.tail(15)));
    }
    Ok(output(finished))
}

fn output(finished: Finished) -> Dynamic {
    Map::from([
        ("code".into(), i64::from(exit_code(finished.status)).into()),
        ("stdout".into(), finished.stdout.into()),
        ("stderr".into(), finished.stderr.into()),
    ])
    .into()
}

fn read_file(call: &Call, args: &Arguments) -> Done {
    let path = args.text("path");
    let file = call.host().environment.path(&path)?;
    let text = fault::blocking(Seam::Files).and_then(|()| fs_err::read_to_string(file));
    text.map(Into::into).map_err(|error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            Failure::new(Kind::NotFound, format!("there is no file `{path}`"))
        } else {
            Failure::new(Kind::Io, format!("`{path}` cannot be read"))
                .hint("`ls -ld` shows whether it is a file that this user may read")
                .cause(error)
        }
    })
}

fn write_file(call: &Call, args: &Arguments) -> Done {
    let environment = &call.host().environment;
    let given = args.text("path");
    let path = environment.inside(&given).ok_or_else(|| {
        let what = format!("`{given}` is outside the workspace {}", environment.workspace.display());
        Failure::new(Kind::Usage, what)
            .hint("recipes write inside the workspace only; use sh for anything else")
    })?;
    fault::blocking(Seam::Files)
        .and_then(|()| path.parent().map_or(Ok(()), fs_err::create_dir_all))
        .and_then(|()| fs_err::write(&path, args.text("text")))
        .map_err(|error| {
            Failure::new(Kind::Io, format!("`{given}` cannot be written"))
                .hint("make room there (`df -h`), or let this user write it (`ls -ld`)")
                .cause(error)
        })?;
    DONE
}

fn env(_call: &Call, args: &Arguments) -> Done {
    let name = args.text("name");
    match (std::env::var(&name), args.get("default")) {
        (Ok(value), _) => Ok(value.into()),
        (Err(_), Some(default)) => Ok(default),
        (Err(_), None) => {
            Err(Failure::new(Kind::NotFound, format!("the environment variable {name} is not set"))
                .hint(format!("set it, or give a default: env(\"{name}\", \"..\")")))
        }
    }
}

async fn random_port(call: Call, _args: Arguments) -> Done {
    Ok(i64::from(call.host().environment.target.reserve_port().await?).into())
}

fn random_password(call: &Call, args: &Arguments) -> Done {
    let length = args.count("length").unwrap_or_default();
    if !(8..=1024).contains(&length) {
        return Err(Failure::new(Kind::Usage, format!("`length` must be from 8 to 1024, got {length}")));
    }
    let password = crate::run::secrets::random(length)?;
    call.host().events.secrets().add(&password);
    Ok(password.into())
}

fn log(call: &Call, args: &Arguments) -> Done {
    call.say(args.text("message"));
    DONE
}
