# Two commands do everything: `make run` and `make test`.

export PATH := $(HOME)/.cargo/bin:$(PATH)

# Where cargo puts what it builds.
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: run test test-e2e test-html test-kill test-kind kind-images lint check-mac deny fuzz bench bench-kind clean

## Install what is missing, build, and set up the DataStorage environment.
run:
	.ci/setup
	cargo build --release --bin recipe --example datastorage
	$(TARGET)/release/recipe run recipes/datastorage.rhai

## Install what is missing, and run all tests.
test:
	.ci/setup tests
	.ci/test

## The service of this repository end to end, in the environment of its recipe.
test-e2e:
	.ci/setup tests
	cargo build --quiet --bin recipe --example datastorage
	cargo test --quiet --test e2e --no-run
	$(TARGET)/debug/recipe test recipes/datastorage.rhai --set profile=dev --results $(TARGET)/e2e.xml \
		-- cargo test --quiet --test e2e -- --junit $(TARGET)/e2e.xml

## The HTML report in a browser. Needs npm and Chromium (CHROMIUM=PATH, else /usr/bin/chromium).
test-html:
	.ci/setup browser
	npm ci --silent --prefix tests/html
	cargo test --test html -- --ignored

## Kill recipe and its supervisor at random moments: ROUNDS=200, SEED=n.
test-kill:
	.ci/setup tests
	.ci/test-kill

## The targets kind and kube on a real cluster. See tests/kind/README.md.
test-kind: kind-images
	.ci/setup tests
	.ci/test-kind

## The images of the kind target's tests, in the Docker engine. See tests/kind/README.md.
kind-images:
	tests/kind/build

## What CI refuses.
lint:
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings

## Whether it compiles for macOS, where rustup can have what that takes.
check-mac:
	.ci/check-mac

## Licences, sources and duplicates of all that this is built from, and advisories
## where their database can be fetched.
deny:
	.ci/setup deny
	.ci/deny

## Arbitrary input for all that reads text or archives: CASES=1000000.
fuzz:
	PROPTEST_CASES=$(or $(CASES),100000) cargo test --lib fuzz_tests

## Measure: against a naive script, against work done by hand, and costs of its own.
bench:
	.ci/setup tests
	cargo bench --bench setup
	cargo bench --bench reuse
	cargo bench --bench cost
	cargo bench --bench overhead

## Measure the kind target: against a reference script, and loads of images against kind's.
bench-kind: kind-images
	.ci/setup tests
	.ci/with-kind benches/kind/run.sh
	.ci/with-kind cargo bench --bench load

clean:
	cargo clean
