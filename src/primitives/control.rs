//! Concurrency, time and structure.

use std::time::Duration;

use rhai::{Array, Dynamic, EvalAltResult, FnPtr, Map, NativeCallContext};

use crate::run::duration::show;
use crate::run::event::{Level, StepKind};
use crate::run::{Failure, Kind, clock};
use crate::script::call::{is_cancelled, one_line};
use crate::script::parallel::{Work, run_group};
use crate::script::task::Task;
use crate::script::{Arguments, Call, Family, Opt, Param, Primitive, Reach, Run, Type};

const MAX: Opt =
    Opt::new("max", Type::Positive, "how many branches run at a time; all of them when left out");

pub(super) const TABLE: &[Primitive] = &[
    Primitive {
        name: "parallel",
        family: Family::Control,
        reach: Reach::Run,
        params: &[Param::new("branches", Type::OneOf(&[Type::Map, Type::Array])), Param::options()],
        options: &[MAX],
        returns: "map or array",
        doc: "Runs closures side by side and returns their values under the same names, or in the same order.\n\n\
              The first branch that fails cancels the others, and its error is that of `parallel`. A branch works on \
              a snapshot of the variables around it: writing to one is an error, results are returned.",
        example: r#"let made = parallel(#{ one: || 1, two: || { sleep("10ms"); 2 } });
print(made.one + made.two);"#,
        run: Run::Control(parallel),
    },
    Primitive {
        name: "each",
        family: Family::Control,
        reach: Reach::Run,
        params: &[Param::new("items", Type::Array), Param::new("closure", Type::Closure), Param::options()],
        options: &[MAX],
        returns: "array",
        doc: "Calls a closure with each item of an array, side by side, and returns the values in order.",
        example: "print(each([1, 2, 3], |n| n * n, #{ max: 2 }));",
        run: Run::Control(each),
    },
    Primitive {
        name: "start",
        family: Family::Control,
        reach: Reach::Run,
        params: &[Param::new("name", Type::String), Param::new("closure", Type::Closure)],
        options: &[],
        returns: "Task",
        doc: "Runs a closure beside what follows, and returns a task to `join`.\n\n\
              A task ends with the branch that started it: one that nobody joined is waited for at its end, and its \
              failure fails the branch.",
        example: r#"let answer = start("answer", || 6 * 7);
print(answer.join());"#,
        run: Run::Control(start),
    },
    Primitive {
        name: "join",
        family: Family::Control,
        reach: Reach::Run,
        params: &[Param::new("task", Type::Handle("Task"))],
        options: &[],
        returns: "any",
        doc: "Waits for a task and returns its value, or fails as it failed.",
        example: r#"let tasks = [start("a", || 1), start("b", || 2)];
print(tasks.map(|task| task.join()));"#,
        run: Run::Control(join),
    },
    Primitive {
        name: "retry",
        family: Family::Control,
        reach: Reach::Run,
        params: &[
            Param { name: "options", ty: Type::Options, required: true },
            Param::new("closure", Type::Closure),
        ],
        options: &[
            Opt::with_default("times", Type::Positive, "3", "how often it is tried"),
            Opt::with_default("delay", Type::Duration, "1s", "the pause after the first failure"),
            Opt::with_default("backoff", Type::Factor, "2", "what the pause is multiplied with each time"),
        ],
        returns: "any",
        doc: "Calls a closure until it does not fail, and returns its value.\n\nThe last failure is that of `retry`.",
        example: r#"let value = retry(#{ times: 5, delay: "10ms" }, || {
    if sh("test $(date +%N | cut -c1) -ge 0", #{ check: false }).code != 0 { throw "not yet"; }
    "done"
});
print(value);"#,
        run: Run::Control(retry),
    },
    Primitive {
        name: "timeout",
        family: Family::Control,
        reach: Reach::Run,
        params: &[Param::new("limit", Type::Duration), Param::new("closure", Type::Closure)],
        options: &[],
        returns: "any",
        doc: "Calls a closure, stops what it does after a time, and returns its value.\n\n\
              Out of time is a failure of kind `timeout`.",
        example: r#"try { timeout("20ms", || sleep("10s")); } catch (e) { print(e.kind); }"#,
        run: Run::Control(timeout),
    },
    Primitive {
        name: "step",
        family: Family::Control,
        reach: Reach::Run,
        params: &[Param::new("title", Type::String), Param::new("closure", Type::Closure)],
        options: &[],
        returns: "any",
        doc: "Calls a closure as a named phase of the run, which every report shows, and returns its value.",
        example: r#"let greeting = step("say hello", || "hello");
print(greeting);"#,
        run: Run::Control(step),
    },
    Primitive {
        name: "on_exit",
        family: Family::Control,
        reach: Reach::Run,
        params: &[Param::new("closure", Type::Closure)],
        options: &[],
        returns: "",
        doc: "Keeps a closure for the end of the run, whatever happens. The last one given is called first.\n\n\
              It is called when the script is over, before anything is taken down.",
        example: r#"on_exit(|| print("last"));
on_exit(|| print("first"));"#,
        run: Run::Control(on_exit),
    },
    Primitive {
        name: "sleep",
        family: Family::Control,
        reach: Reach::Run,
        params: &[Param::new("time", Type::Duration)],
        options: &[],
        returns: "",
        doc: "Waits for a time. To wait for a thing, use `wait_ready`, `wait_http` or `wait_for`.",
        example: r#"sleep("20ms");"#,
        run: Run::Control(sleep),
    },
];

type Outcome = Result<Dynamic, Box<EvalAltResult>>;

fn parallel(context: &NativeCallContext, call: Call, args: &Arguments) -> Outcome {
    let branches = args.get("branches").unwrap_or_default();
    let max = args.count("max");
    if branches.is_map() {
        let (names, work): (Vec<_>, Vec<_>) = branches
            .cast::<Map>()
            .into_iter()
            .map(|(name, closure)| work(&call, name.to_string(), closure).map(|work| (name, work)))
            .collect::<Result<Vec<_>, Box<EvalAltResult>>>()?
            .into_iter()
            .unzip();
        let values = run_group(context, call, work, max)?;
        return Ok(names.into_iter().zip(values).collect::<Map>().into());
    }
    let items = branches.into_array().unwrap_or_default().into_iter().enumerate();
    let work = items.map(|(i, closure)| work(&call, i.to_string(), closure)).collect::<Result<_, _>>()?;
    Ok(run_group(context, call, work, max)?.into())
}

fn work(call: &Call, name: String, closure: Dynamic) -> Result<Work, Box<EvalAltResult>> {
    if let Some(closure) = closure.try_cast::<FnPtr>() {
        return Ok(Work { name, closure, arguments: Vec::new() });
    }
    let failure = Failure::new(Kind::Usage, format!("branch `{name}` must be a closure"))
        .hint("put bars before it, as in || deploy_redis(cluster)");
    Err(call.raise(call.locate_argument(failure, 0, Some(&name))))
}

fn each(context: &NativeCallContext, call: Call, args: &Arguments) -> Outcome {
    let max = args.count("max");
    let Some(closure) = args.closure("closure") else { return Ok(Dynamic::UNIT) };
    let items: Array = args.array("items").unwrap_or_default();
    let work = |(i, item): (usize, Dynamic)| {
        let name = if item.is_string() { item.to_string() } else { i.to_string() };
        Work { name, closure: closure.clone(), arguments: vec![item] }
    };
    let work = items.into_iter().enumerate().map(work).collect();
    Ok(run_group(context, call, work, max)?.into())
}

fn start(context: &NativeCallContext, call: Call, args: &Arguments) -> Outcome {
    let Some(closure) = args.closure("closure") else { return Ok(Dynamic::UNIT) };
    Task::start(context, &call, args.text("name"), &closure).map(Dynamic::from)
}

fn join(_context: &NativeCallContext, call: Call, args: &Arguments) -> Outcome {
    args.the::<Task>("task").join(call)
}

fn retry(context: &NativeCallContext, call: Call, args: &Arguments) -> Outcome {
    let Some(closure) = args.closure("closure") else { return Ok(Dynamic::UNIT) };
    let times = args.count("times").unwrap_or_default();
    let backoff = args.factor("backoff").unwrap_or(1.0);
    let mut delay = args.duration("delay").unwrap_or_default();
    call.run_as_step(|call| {
        for attempt in 1.. {
            let error = match call.call_closure(context, &closure, ()) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if attempt == times || call.token().is_cancelled() {
                return Err(error);
            }
            let text = format!("attempt {attempt} of {times} failed: {}", one_line(&error));
            call.step.message(Level::Warning, text);
            call.step.waiting(format!("attempt {} of {times}, in {}", attempt + 1, show(delay)));
            call.pause(delay)?;
            delay = delay.mul_f64(backoff).min(Duration::from_hours(1));
        }
        Ok(Dynamic::UNIT)
    })
}

fn timeout(context: &NativeCallContext, call: Call, args: &Arguments) -> Outcome {
    let Some(closure) = args.closure("closure") else { return Ok(Dynamic::UNIT) };
    let limit = args.duration("limit").unwrap_or_default();
    call.run_as_step(|outer| {
        let inner = outer.with_child_token();
        let token = inner.token().clone();
        let timer = outer.host().runtime.spawn(async move {
            clock::sleep(limit).await;
            token.cancel();
        });
        let result = inner.call_closure(context, &closure, ());
        timer.abort();
        // Cancelled from outside is no time-out, whoever was first.
        let out_of_time = inner.token().is_cancelled() && !outer.token().is_cancelled();
        match result {
            Err(error) if out_of_time && is_cancelled(&error) => {
                Err(outer.raise(Failure::new(Kind::Timeout, format!("not done within {}", show(limit)))))
            }
            result => result,
        }
    })
}

fn step(context: &NativeCallContext, call: Call, args: &Arguments) -> Outcome {
    let Some(closure) = args.closure("closure") else { return Ok(Dynamic::UNIT) };
    call.run_as(StepKind::Phase, args.text("title"), |call| call.call_closure(context, &closure, ()))
}

fn on_exit(context: &NativeCallContext, call: Call, args: &Arguments) -> Outcome {
    if let Some(closure) = args.closure("closure") {
        call.host().clone().on_exit(context, call, &closure);
    }
    Ok(Dynamic::UNIT)
}

fn sleep(_context: &NativeCallContext, call: Call, args: &Arguments) -> Outcome {
    let time = args.duration("time").unwrap_or_default();
    call.run_as(StepKind::Primitive, show(time), |call| {
        call.pause(time)?;
        Ok(Dynamic::UNIT)
    })
}
