//! The command line.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bridge_core::AccountKind;
use clap::{Parser, Subcommand};

use crate::app;
use crate::credentials::SecretTable;
use crate::settings::{self, Settings};
use crate::store::{Role, Store};

/// Video fusion gateway for emergency command halls.
///
/// Without a subcommand the gateway runs until Ctrl-C.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:
  skybridge                                     run on the embedded defaults
  skybridge --config /etc/skybridge.toml        run an installation
  skybridge check --config /etc/skybridge.toml  name every mistake of a configuration
  SKYBRIDGE_HTTP_LISTEN=0.0.0.0:443 skybridge   override one key"
)]
pub struct Arguments {
    /// The configuration; the embedded defaults without it.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    order: Option<Order>,
}

#[derive(Subcommand)]
enum Order {
    /// Check a configuration: every mistake at once, with its line.
    #[command(after_help = "Example:\n  skybridge check --config /etc/skybridge.toml")]
    Check,
    /// Accounts, while the gateway does not run or as a way in when all passwords are lost.
    #[command(
        after_help = "Examples:\n  skybridge user list\n  skybridge user reset admin    prints a new one-time password"
    )]
    User {
        #[command(subcommand)]
        order: UserOrder,
    },
    /// The password of a GB/T 28181 device, while the gateway does not run.
    #[command(
        after_help = "Example:\n  skybridge device password 34020000001320000003 --new    makes one and prints it"
    )]
    Device {
        #[command(subcommand)]
        order: SecretOrder,
    },
    /// The account of a SIP phone, while the gateway does not run.
    #[command(after_help = "Example:\n  skybridge phone password 8001 --name \"Gate\" < password.txt")]
    Phone {
        #[command(subcommand)]
        order: SecretOrder,
    },
    /// The archive of recordings.
    #[command(after_help = "Example:\n  skybridge recordings check --config /etc/skybridge.toml")]
    Recordings {
        #[command(subcommand)]
        order: RecordingsOrder,
    },
    /// Print the version.
    #[command(after_help = "Example:\n  skybridge version")]
    Version,
    /// Print the OpenAPI document.
    #[command(after_help = "Example:\n  skybridge openapi > openapi.json")]
    Openapi,
    /// Print the annotated default configuration.
    #[command(after_help = "Example:\n  skybridge defaults > /etc/skybridge.toml")]
    Defaults,
    /// One job in a process of its own, started by the gateway.
    #[command(hide = true)]
    Worker {
        #[command(subcommand)]
        order: WorkerOrder,
    },
}

#[derive(Subcommand)]
enum UserOrder {
    /// All accounts.
    List,
    /// Give an account a new one-time password; its sessions end.
    Reset { name: String },
}

#[derive(Subcommand)]
enum SecretOrder {
    /// Set a password, read from standard input.
    Password {
        /// 20-digit id of the device, or user name of the phone.
        user: String,
        /// Name to show.
        #[arg(long, default_value = "")]
        name: String,
        /// Make a password and print it.
        #[arg(long)]
        new: bool,
    },
}

#[derive(Subcommand)]
enum RecordingsOrder {
    /// Prove that every file is whole and agrees with the index. Exit status 1 if anything is wrong.
    Check,
}

#[derive(Subcommand)]
enum WorkerOrder {
    /// A key frame on standard input, a JPEG picture on standard output.
    Still {
        codec: String,
        /// In its full size.
        #[arg(long)]
        whole: bool,
    },
    /// Frames on standard input, H.264 frames on standard output.
    Video {
        codec: String,
        encoder: String,
        height: u32,
        kbps: u32,
        /// Key frames are kept small.
        #[arg(long)]
        thin: bool,
        /// Each slice fits a packet.
        #[arg(long)]
        small_slices: bool,
    },
}

fn fail(message: impl std::fmt::Display) -> ExitCode {
    eprintln!("skybridge: {message}");
    ExitCode::FAILURE
}

impl Arguments {
    pub fn run(self) -> ExitCode {
        match &self.order {
            Some(Order::Openapi) => return print(&crate::api::openapi().to_pretty_json().unwrap_or_default()),
            Some(Order::Version) => return print(env!("CARGO_PKG_VERSION")),
            Some(Order::Defaults) => return print(include_str!("../config/skybridge.toml")),
            Some(Order::Worker { order: WorkerOrder::Still { codec, whole } }) => {
                return media_transcode::worker::still(codec, *whole);
            }
            Some(Order::Worker { order: WorkerOrder::Video { codec, encoder, height, kbps, thin, small_slices } }) => {
                let form = media_transcode::worker::VideoForm {
                    max_height: *height,
                    kbps: *kbps,
                    thin: *thin,
                    small_slices: *small_slices,
                };
                return media_transcode::worker::video(codec, encoder, form);
            }
            _ => {}
        }
        let settings = match load(self.config.as_deref()) {
            Ok(settings) => settings,
            Err(problems) => {
                for problem in &problems {
                    eprintln!("{problem}");
                }
                let count = problems.len();
                return fail(format!("{count} mistake{} in the configuration", if count == 1 { "" } else { "s" }));
            }
        };
        // One provider for all of TLS; a second installation is refused, which cannot happen this early.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        if matches!(self.order, Some(Order::Check)) {
            if !settings.http.certificate.is_empty()
                && let Err(error) = crate::tls::server_config(&settings.http, &settings.site.data)
            {
                return fail(format!("http.certificate: {error}"));
            }
            println!("The configuration is right.");
            return ExitCode::SUCCESS;
        }
        log_to_stderr(&settings.site.log);
        let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return fail(format!("cannot start: {error}")),
        };
        let code = match self.order {
            Some(Order::User { order }) => runtime.block_on(user(&settings, order)),
            Some(Order::Device { order }) => runtime.block_on(secret(&settings, AccountKind::Gb28181Device, order)),
            Some(Order::Phone { order }) => runtime.block_on(secret(&settings, AccountKind::Phone, order)),
            Some(Order::Recordings { order: RecordingsOrder::Check }) => runtime.block_on(check_recordings(&settings)),
            _ => runtime.block_on(run(settings)),
        };
        runtime.shutdown_timeout(std::time::Duration::from_secs(1));
        code
    }
}

fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    // A reader that closed its end early is content with what it has.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n"));
    ExitCode::SUCCESS
}

fn load(path: Option<&Path>) -> Result<Settings, Vec<config::Problem>> {
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let (text, name) = match path {
        None => (String::new(), "defaults".to_owned()),
        Some(path) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|error| vec![config::Problem::new("", name.clone(), error.to_string())])?;
            (text, name)
        }
    };
    settings::load(&text, &name, &environment)
}

fn log_to_stderr(filter: &str) {
    // The SIP crate's and the media crates' own words; third parties are heard from their warnings on.
    let wanted = if filter.contains('=') || filter.contains(',') {
        filter.to_owned()
    } else {
        format!(
            "warn,skybridge={filter},sip={filter},media_hub={filter},media_webrtc={filter},recorder={filter},bridge_gb28181={filter},bridge_phone={filter},bridge_core={filter}"
        )
    };
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(wanted))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
}

async fn run(settings: Settings) -> ExitCode {
    let local = settings.http.local.first().map(|a| format!("http://{a}"));
    let secure = settings.http.listen.first().map(|a| format!("https://{a}"));
    let running = match app::start(settings).await {
        Ok(running) => running,
        Err(error) => return fail(error),
    };
    println!("Skybridge {} is ready.", env!("CARGO_PKG_VERSION"));
    if let Some(address) = local.or(secure) {
        println!("Console: {address}");
    }
    if let Some(password) = &running.first_password {
        println!("Sign in as admin with the one-time password {password}");
    }
    stop_signal().await;
    eprintln!("Stopping.");
    running.stop().await;
    ExitCode::SUCCESS
}

async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            tracing::warn!(%error, "cannot listen for SIGTERM");
            let _ = tokio::signal::ctrl_c().await;
            return;
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

async fn user(settings: &Settings, order: UserOrder) -> ExitCode {
    let data = &settings.site.data;
    if let Err(error) = std::fs::create_dir_all(data) {
        return fail(format!("site.data {}: {error}", data.display()));
    }
    let store = match Store::open(&data.join("skybridge.db")).await {
        Ok(store) => store,
        Err(error) => return fail(error),
    };
    match order {
        UserOrder::List => match store.accounts().await {
            Ok(accounts) => {
                for account in accounts {
                    let note = if account.must_change { "  (one-time password)" } else { "" };
                    println!("{:<24} {}{note}", account.name, account.role.as_str());
                }
                ExitCode::SUCCESS
            }
            Err(error) => fail(error),
        },
        UserOrder::Reset { name } => {
            let access = match crate::access::Access::open(store.clone(), settings.access.clone(), data).await {
                Ok((access, _)) => access,
                Err(error) => return fail(error),
            };
            let password = crate::access::readable_password();
            let known = match store.account(&name).await {
                Ok(account) => account.is_some(),
                Err(error) => return fail(error),
            };
            let done = if known {
                access.reset_password(&name, &password).await
            } else if name == "admin" {
                access.add_account(&name, &password, Role::Admin, true).await
            } else {
                return fail(format!("there is no account {name}"));
            };
            match done {
                Ok(_) => {
                    println!("New one-time password of {name}: {password}");
                    ExitCode::SUCCESS
                }
                Err(error) => fail(error),
            }
        }
    }
}

async fn secret(settings: &Settings, kind: AccountKind, order: SecretOrder) -> ExitCode {
    let SecretOrder::Password { user, name, new } = order;
    let right_user = match kind {
        AccountKind::Gb28181Device => user.len() == 20 && user.bytes().all(|b| b.is_ascii_digit()),
        AccountKind::Phone => (2..=18).contains(&user.len()) && user.bytes().all(|b| b.is_ascii_alphanumeric()),
    };
    if !right_user {
        return fail(format!("{user:?}: a device is 20 digits, a phone 2 to 18 letters or digits"));
    }
    let password = if new {
        crate::access::readable_password()
    } else {
        let mut line = String::new();
        if let Err(error) = std::io::stdin().read_line(&mut line) {
            return fail(format!("standard input: {error}"));
        }
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    if !(8..=64).contains(&password.chars().count()) {
        return fail("a password has 8 to 64 characters");
    }
    let data = &settings.site.data;
    if let Err(error) = std::fs::create_dir_all(data) {
        return fail(format!("site.data {}: {error}", data.display()));
    }
    let set = async {
        let store = Store::open(&data.join("skybridge.db")).await?;
        let realms = (settings.gb28181.domain().to_owned(), settings.phone.realm().to_owned());
        SecretTable::load(store, realms.0, realms.1).await?.set(kind, &user, &name, &password).await
    };
    match set.await {
        Ok(()) if new => print(&password),
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error),
    }
}

async fn check_recordings(settings: &Settings) -> ExitCode {
    let store = match Store::open(&settings.site.data.join("skybridge.db")).await {
        Ok(store) => store,
        Err(error) => return fail(error),
    };
    let show = std::io::stderr().is_terminal();
    let progress = move |now: recorder::Progress| {
        if show {
            eprint!("\r{} of {} files", now.done, now.total);
        }
    };
    let report = recorder::check(&settings.recordings(), store.pool().clone(), progress).await;
    if show {
        eprintln!();
    }
    match report {
        Ok(report) => {
            tell(&report);
            if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => fail(error),
    }
}

fn tell(report: &recorder::Report) {
    println!(
        "{} files, {:.1} MiB: {} whole, {} repaired after a crash, {} growing",
        report.files,
        report.bytes as f64 / 1_048_576.0,
        report.whole,
        report.repaired,
        report.growing,
    );
    for damage in &report.damaged {
        println!("damaged: {} at byte {}: {}", damage.path, damage.offset, damage.why);
    }
    for path in &report.missing_rows {
        println!("not in the index: {path}");
    }
    for path in &report.missing_files {
        println!("file is missing: {path}");
    }
    for gap in &report.gaps {
        println!("gap in time: {} from {:.1} s to {:.1} s", gap.path, gap.from_s, gap.to_s);
    }
    println!("{}", if report.is_whole() { "The archive is whole." } else { "The archive is NOT whole." });
}
