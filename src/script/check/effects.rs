//! Effects that get in each other's way: two deployments of one name, two
//! servers on one port, two branches that write one file.

use std::collections::HashMap;

use rhai::{AST, ASTNode, Expr, Position, Stmt};

use super::Finding;
use super::closures::{Closure, fork};
use super::constants::Constants;
use super::site::{Site, constants, site};
use crate::script::host::Table;
use crate::script::syntax::{FunctionCall, call_of};

/// Something that can be made once only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Thing {
    Name(String),
    Port(i64),
    File(String),
}

/// Who makes it.
#[derive(Clone)]
struct Maker {
    at: Position,
    /// The groups and branches around it, outermost first.
    branches: Vec<(Position, String)>,
    /// Whether it is made again and again, side by side.
    repeated: bool,
}

pub(super) fn findings(table: Table, ast: &AST) -> Vec<Finding> {
    let mut made: HashMap<Thing, Vec<Maker>> = HashMap::new();
    let constants = constants(table, ast);
    let mut walk = Walk { table, ast, constants: &constants, made: &mut made, depth: 0 };
    walk.statements(ast.statements(), &Maker { at: Position::NONE, branches: Vec::new(), repeated: false });
    let mut found: Vec<_> = made.iter().flat_map(|(thing, makers)| clashes(thing, makers)).collect();
    found.sort_by_key(|finding| (finding.at.line(), finding.at.position()));
    found
}

/// Follows what certainly runs: neither branches of `if`, nor loops.
struct Walk<'a> {
    table: Table,
    ast: &'a AST,
    constants: &'a Constants<'a>,
    made: &'a mut HashMap<Thing, Vec<Maker>>,
    /// Own functions may call each other in circles.
    depth: usize,
}

/// How deep own functions are followed.
const DEEPEST: usize = 8;

impl Walk<'_> {
    fn statements(&mut self, statements: &[Stmt], around: &Maker) {
        for statement in statements {
            statement.walk(&mut Vec::new(), &mut |path| {
                let Some(node) = path.last() else { return true };
                if let ASTNode::Stmt(
                    Stmt::If(..)
                    | Stmt::Switch(..)
                    | Stmt::While(..)
                    | Stmt::Do(..)
                    | Stmt::For(..)
                    | Stmt::TryCatch(..),
                )
                | ASTNode::Expr(Expr::And(..) | Expr::Or(..) | Expr::Coalesce(..)) = node
                {
                    return true;
                }
                if path.iter().rev().skip(1).any(is_conditional) {
                    return true;
                }
                if let Some(call) = call_of(node) {
                    self.call(&call, around);
                }
                true
            });
        }
    }

    fn call(&mut self, call: &FunctionCall<'_>, around: &Maker) {
        if let Some(fork) = fork(self.ast, call) {
            for Closure { label, function, .. } in fork.closures {
                let mut inside = around.clone();
                inside.branches.push((fork.at, label));
                inside.repeated |= fork.primitive == "each";
                self.statements(function.body.statements(), &inside);
            }
        } else if let Some(site) = site(self.table, self.constants, call) {
            for (thing, at) in things(&site) {
                self.made.entry(thing).or_default().push(Maker { at, ..around.clone() });
            }
        } else if let Some(own) = self.ast.iter_fn_def().find(|own| own.name == call.name)
            && self.depth < DEEPEST
        {
            self.depth += 1;
            // The place of the call, since the function may be called twice.
            let before: HashMap<_, _> = self.made.iter().map(|(k, v)| (k.clone(), v.len())).collect();
            let own = own.clone();
            self.statements(own.body.statements(), around);
            for (thing, makers) in self.made.iter_mut() {
                let known = before.get(thing).copied().unwrap_or_default();
                makers.iter_mut().skip(known).for_each(|maker| maker.at = call.at);
            }
            self.depth -= 1;
        }
    }
}

fn is_conditional(node: &ASTNode<'_>) -> bool {
    matches!(
        node,
        ASTNode::Stmt(
            Stmt::If(..)
                | Stmt::Switch(..)
                | Stmt::While(..)
                | Stmt::Do(..)
                | Stmt::For(..)
                | Stmt::TryCatch(..)
        ) | ASTNode::Expr(Expr::And(..) | Expr::Or(..) | Expr::Coalesce(..))
    )
}

/// What a call makes, as far as the text says.
fn things(site: &Site) -> Vec<(Thing, Position)> {
    let mut things = Vec::new();
    match site.primitive.name {
        name if name.starts_with("deploy_") => {
            things.extend(site.text_or_default("name").map(|(name, at)| (Thing::Name(name), at)));
            if let Some((port, at)) = site.literal("host_port")
                && let Ok(port) = port.as_int()
            {
                things.push((Thing::Port(port), at));
            }
        }
        "write_file" => things.extend(site.text("path").map(|(path, at)| (Thing::File(path), at))),
        _ => {}
    }
    things
}

fn clashes(thing: &Thing, makers: &[Maker]) -> Vec<Finding> {
    let mut found = Vec::new();
    for (i, maker) in makers.iter().enumerate() {
        let earlier = &makers[..i];
        let beside = earlier.iter().find(|other| race(other, maker));
        let before = earlier.first();
        let place = |other: &Maker| {
            let line = other.at.line().unwrap_or_default();
            format!("line {line}")
        };
        found.extend(match (thing, beside, before) {
            (Thing::Name(name), Some(other), _) => Some(
                Finding::error(
                    "race",
                    maker.at,
                    format!(
                        "the branches `{}` and `{}` both deploy `{name}`",
                        branch_of(other, maker),
                        branch_of(maker, other)
                    ),
                )
                .hint(
                    "names are unique in an environment; give one of them the option `name`, or another name",
                ),
            ),
            (Thing::Name(name), None, Some(other)) => Some(
                Finding::error(
                    "twice",
                    maker.at,
                    format!("`{name}` is deployed on {} already", place(other)),
                )
                .hint("names are unique in an environment; give one of them another name"),
            ),
            (Thing::Port(port), _, Some(other)) => Some(
                Finding::error(
                    "port",
                    maker.at,
                    format!("port {port} of this machine is taken on {}", place(other)),
                )
                .hint("choose another one, or leave `host_port` out: recipe finds a free one"),
            ),
            (Thing::File(path), Some(other), _) => Some(
                Finding::error(
                    "race",
                    maker.at,
                    format!(
                        "the branches `{}` and `{}` both write `{path}`",
                        branch_of(other, maker),
                        branch_of(maker, other)
                    ),
                )
                .hint("which one is last is chance; write different files, or one after the other"),
            ),
            _ if maker.repeated && i == 0 => match thing {
                Thing::Name(name) => Some(
                    Finding::error("race", maker.at, format!("each branch of `each` deploys `{name}`"))
                        .hint("make the name of the item, such as `db-${item}`"),
                ),
                Thing::Port(port) => Some(
                    Finding::error("port", maker.at, format!("each branch of `each` takes port {port}"))
                        .hint("leave `host_port` out: recipe finds a free one for each"),
                ),
                Thing::File(path) => Some(
                    Finding::error("race", maker.at, format!("each branch of `each` writes `{path}`"))
                        .hint("make the name of the item, such as `file-${item}`"),
                ),
            },
            _ => None,
        });
    }
    found
}

/// Whether two makers are in different branches of one group.
fn race(one: &Maker, other: &Maker) -> bool {
    one.branches.iter().any(|(group, branch)| {
        other.branches.iter().any(|(same, another)| group == same && branch != another)
    })
}

/// The branch in which `maker` differs from `other`.
fn branch_of(maker: &Maker, other: &Maker) -> String {
    let differs = maker.branches.iter().find(|(group, branch)| {
        other.branches.iter().any(|(same, another)| group == same && branch != another)
    });
    differs.map(|(_, branch)| branch.clone()).unwrap_or_default()
}
