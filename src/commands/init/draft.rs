//! A recipe about to be written.

use std::collections::BTreeMap;

/// What the recipe sets up.
#[derive(Default)]
pub(super) struct Draft {
    pub project: String,
    pub servers: Vec<Server>,
    pub services: Vec<Service>,
    pub migrations: Option<String>,
    /// What was found, for the person.
    pub notes: Vec<String>,
}

/// A database.
pub(super) struct Server {
    pub name: String,
    primitive: &'static str,
    /// Options as a recipe writes them.
    pub options: BTreeMap<&'static str, String>,
}

/// A service.
#[derive(Default)]
pub(super) struct Service {
    pub name: String,
    pub port: Option<u16>,
    /// The command that builds it, and the program.
    pub build: Option<(String, String)>,
    pub dockerfile: Option<String>,
    pub command: Option<Vec<String>>,
    pub env: BTreeMap<String, String>,
    /// What it waits for.
    pub after: Vec<String>,
    /// What could not be taken over.
    pub notes: Vec<String>,
}

impl Server {
    pub(super) fn postgres(name: &str) -> Self {
        Self { name: name.to_owned(), primitive: "deploy_postgres", options: BTreeMap::new() }
    }

    pub(super) fn redis(name: &str) -> Self {
        Self { name: name.to_owned(), primitive: "deploy_redis", options: BTreeMap::new() }
    }

    pub(super) fn is_postgres(&self) -> bool {
        self.primitive == "deploy_postgres"
    }

    fn call(&self) -> String {
        let mut options = self.options.clone();
        let default = if self.is_postgres() { "postgres" } else { "redis" };
        if self.name != default {
            options.insert("name", quoted(&self.name));
        }
        let options: Vec<_> = options.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        let options =
            if options.is_empty() { String::new() } else { format!(", #{{ {} }}", options.join(", ")) };
        format!("{}(cluster{options})", self.primitive)
    }
}

/// A text as a recipe writes it.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// A name that a variable can have.
pub(super) fn variable(name: &str) -> String {
    let mut name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        name.insert(0, '_');
    }
    name
}

/// A name that a cluster can have: small letters, digits and dashes inside.
fn cluster_name(project: &str) -> String {
    let name: String = project
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .take(40)
        .collect();
    match name.trim_matches('-') {
        "" => "e2e".to_owned(),
        name => name.to_owned(),
    }
}

impl Draft {
    /// The recipe.
    pub(super) fn render(&self) -> String {
        let mut text = format!(
            "// Sets up {0} for end-to-end tests.\n//\n//   recipe check FILE    finds mistakes without running it\n\
             //   recipe run FILE      sets everything up; `recipe down` takes it down\n//   recipe doc           \
             what recipes can call\n\nlet cluster = create_cluster({1});\n",
            self.project,
            quoted(&cluster_name(&self.project))
        );
        self.render_servers(&mut text);
        for service in &self.services {
            Self::render_service(service, &mut text);
        }
        if self.services.is_empty() {
            text.push_str(
                "\n// A service: what it runs, where it listens, and how to see that it is ready.\n\
                 //   let image = build_image(\"shop\", #{ build: \"make\", binary: \"bin/shop\" });\n\
                 //   let shop = deploy_service(cluster, \"shop\", #{ image: image, port: 8080, ready: \"/healthz\" });\n\
                 //   wait_ready(shop);\n",
            );
        }
        self.render_outputs(&mut text);
        text
    }

    fn render_servers(&self, text: &mut String) {
        let migrated = self.servers.iter().position(Server::is_postgres).zip(self.migrations.as_ref());
        let calls: Vec<_> = self
            .servers
            .iter()
            .enumerate()
            .map(|(i, server)| match migrated {
                Some((of, folder)) if of == i => format!("migrate({}, {})", server.call(), quoted(folder)),
                _ => server.call(),
            })
            .collect();
        match calls.as_slice() {
            [] => {}
            [call] => text.push_str(&format!("\nlet {} = {call};\n", variable(&self.servers[0].name))),
            calls => {
                text.push_str(
                    "\n// Branches run side by side; each returns what it made.\nlet data = parallel(#{\n",
                );
                for (server, call) in self.servers.iter().zip(calls) {
                    text.push_str(&format!("    {}: || {call},\n", variable(&server.name)));
                }
                text.push_str("});\n");
            }
        }
    }

    /// How the recipe refers to a server or service.
    pub(super) fn reference(&self, name: &str) -> Option<String> {
        if self.servers.iter().any(|server| server.name == name) {
            let name = variable(name);
            return Some(if self.servers.len() > 1 { format!("data.{name}") } else { name });
        }
        self.services.iter().any(|service| service.name == name).then(|| variable(name))
    }

    fn render_service(service: &Service, text: &mut String) {
        let name = variable(&service.name);
        text.push('\n');
        for note in &service.notes {
            text.push_str(&format!("// {note}\n"));
        }
        let mut options = Vec::new();
        let image = match (&service.build, &service.dockerfile) {
            (Some((build, binary)), _) => {
                Some(format!("#{{ build: {}, binary: {} }}", quoted(build), quoted(binary)))
            }
            (None, Some(file)) => Some(format!("#{{ dockerfile: {} }}", quoted(file))),
            (None, None) => None,
        };
        if let Some(image) = image {
            let build = format!("build_image({}, {image})", quoted(&service.name));
            text.push_str(&format!("let {name}_image = load_image(cluster, {build});\n"));
            options.push(format!("image: {name}_image"));
        }
        if let Some(command) = &service.command {
            let words: Vec<_> = command.iter().map(|word| quoted(word)).collect();
            options.push(format!("command: [{}]", words.join(", ")));
        }
        options.extend(service.port.map(|port| format!("port: {port}")));
        let env: Vec<_> =
            service.env.iter().map(|(name, value)| format!("        {name}: {value},\n")).collect();
        if !env.is_empty() {
            options.push(format!("env: #{{\n{}    }}", env.concat()));
        }
        let options: Vec<_> = options.iter().map(|option| format!("    {option},\n")).collect();
        text.push_str(&format!(
            "let {name} = deploy_service(cluster, {}, #{{\n{}}});\nwait_ready({name});\n",
            quoted(&service.name),
            options.concat()
        ));
    }

    fn render_outputs(&self, text: &mut String) {
        let servers = self.servers.iter().map(|server| &server.name);
        let services = self.services.iter().filter(|service| service.port.is_some());
        let names: Vec<_> = servers.chain(services.map(|service| &service.name)).collect();
        if names.is_empty() {
            return;
        }
        text.push_str(
            "\n// What tests need to know: `recipe env` prints it as environment variables.\noutput(#{\n",
        );
        for name in names {
            if let Some(reference) = self.reference(name) {
                text.push_str(&format!("    {}_url: {reference}.url,\n", variable(name)));
            }
        }
        text.push_str("});\n");
    }
}
