//! The API: REST under `/api/v1`, WHEP and WHIP, events by WebSocket, probes and metrics. `docs/ref/api.md` tells it to people.

mod accounts;
mod alarms;
mod auth;
mod bans;
mod broadcasts;
mod call_lists;
mod calls;
mod captures;
mod channels;
mod conferences;
mod control;
mod device_recordings;
mod devices;
mod directory;
mod error;
mod events;
mod guest;
mod legs;
mod lobby;
mod messages;
mod patches;
mod phones;
mod pictures;
mod plans;
mod playback;
mod probes;
mod queues;
mod recordings;
mod schedules;
mod session;
mod sip_ws;
mod softphone;
mod steer;
mod streams;
mod system;
mod talks;
mod templates;
pub mod time;
mod tracks;
mod trunks;
mod walls;
mod web;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, header};
use axum::routing::get;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;

pub use auth::Who;
pub use devices::device_event;
pub use error::ApiError;
pub use queues::queues;
pub use streams::stream_view;

/// What handlers share.
pub type Shared = Arc<App>;

/// Largest request body that is read, in bytes. SDP offers of browsers are below 20 KiB.
const BODY_LIMIT: usize = 256 * 1024;

#[derive(OpenApi)]
#[openapi(
    info(title = "Skybridge", description = "Video fusion gateway for emergency command halls"),
    modifiers(&Security),
    security(("token" = []), ("cookie" = []))
)]
struct Api;

struct Security;

impl utoipa::Modify for Security {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_with(Default::default);
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("token", SecurityScheme::Http(token));
        let cookie = ApiKey::Cookie(ApiKeyValue::new(auth::COOKIE));
        components.add_security_scheme("cookie", SecurityScheme::ApiKey(cookie));
        let guest = ApiKey::Cookie(ApiKeyValue::new(guest::COOKIE));
        components.add_security_scheme("guest", SecurityScheme::ApiKey(guest));
    }
}

fn v1() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(session::sign_in, session::show, session::sign_out))
        .routes(routes!(session::change_password))
        .routes(routes!(devices::list))
        .routes(routes!(devices::show, devices::forget))
        .routes(routes!(devices::refresh))
        .routes(routes!(devices::set_password))
        .routes(routes!(channels::ptz))
        .routes(routes!(channels::key_frame))
        .routes(routes!(pictures::take))
        .routes(routes!(pictures::order))
        .routes(routes!(pictures::list))
        .routes(routes!(pictures::show, pictures::delete))
        .routes(routes!(pictures::image))
        .routes(routes!(tracks::channel))
        .routes(routes!(tracks::track))
        .routes(routes!(tracks::tree))
        .routes(routes!(alarms::list))
        .routes(routes!(alarms::open))
        .routes(routes!(alarms::show))
        .routes(routes!(alarms::acknowledge))
        .routes(routes!(alarms::reset))
        .routes(routes!(control::order_channel))
        .routes(routes!(control::order_device))
        .routes(routes!(control::ask_channel))
        .routes(routes!(control::ask_device))
        .routes(routes!(control::facts))
        .routes(routes!(control::leases))
        .routes(routes!(control::take_lease, control::give_back))
        .routes(routes!(streams::list))
        .routes(routes!(streams::show))
        .routes(routes!(streams::trace))
        .routes(routes!(streams::still))
        .routes(routes!(captures::start))
        .routes(routes!(captures::list))
        .routes(routes!(captures::show, captures::delete))
        .routes(routes!(captures::stop))
        .routes(routes!(captures::file))
        .routes(routes!(legs::whep, legs::no_patch_whep))
        .routes(routes!(legs::whip, legs::no_patch_whip))
        .routes(routes!(legs::show, legs::end, legs::no_patch_leg))
        .routes(routes!(legs::report))
        .routes(routes!(talks::list, talks::begin))
        .routes(routes!(talks::show, talks::end))
        .routes(routes!(talks::whip))
        .routes(routes!(walls::list))
        .routes(routes!(walls::show, walls::take))
        .routes(routes!(walls::switch))
        .routes(routes!(walls::undo))
        .routes(routes!(conferences::list, conferences::create))
        .routes(routes!(conferences::show, conferences::change, conferences::end))
        .routes(routes!(conferences::set_picture))
        .routes(routes!(conferences::add_member))
        .routes(routes!(conferences::change_member, conferences::remove_member))
        .routes(routes!(conferences::press))
        .routes(routes!(conferences::revoke_floor))
        .routes(routes!(lobby::list, lobby::order))
        .routes(routes!(lobby::links, lobby::make_link))
        .routes(routes!(lobby::withdraw))
        .routes(routes!(guest::look))
        .routes(routes!(guest::enter, guest::show, guest::leave))
        .routes(routes!(guest::whip))
        .routes(routes!(guest::picture))
        .routes(routes!(guest::show_leg, guest::end_leg))
        .routes(routes!(guest::change))
        .routes(routes!(guest::texts, guest::write))
        .routes(routes!(guest::stream))
        .routes(routes!(messages::list, messages::send))
        .routes(routes!(messages::threads))
        .routes(routes!(messages::send_file))
        .routes(routes!(messages::send_still))
        .routes(routes!(messages::file))
        .routes(routes!(patches::list, patches::create))
        .routes(routes!(patches::change, patches::remove))
        .routes(routes!(steer::mute_all))
        .routes(routes!(steer::hand))
        .routes(routes!(steer::side))
        .routes(routes!(steer::move_member))
        .routes(routes!(recordings::list))
        .routes(routes!(recordings::days))
        .routes(routes!(recordings::show, recordings::delete))
        .routes(routes!(playback::playlist))
        .routes(routes!(playback::media))
        .routes(routes!(recordings::jobs, recordings::start))
        .routes(routes!(recordings::stop))
        .routes(routes!(device_recordings::list))
        .routes(routes!(device_recordings::playbacks, device_recordings::play))
        .routes(routes!(device_recordings::playback, device_recordings::stop))
        .routes(routes!(device_recordings::control))
        .routes(routes!(device_recordings::fetches, device_recordings::fetch))
        .routes(routes!(device_recordings::forget))
        .routes(routes!(device_recordings::retry))
        .routes(routes!(plans::list, plans::create))
        .routes(routes!(plans::replace, plans::delete))
        .routes(routes!(accounts::list, accounts::create))
        .routes(routes!(accounts::change, accounts::delete))
        .routes(routes!(accounts::audit))
        .routes(routes!(phones::list, phones::create))
        .routes(routes!(phones::delete))
        .routes(routes!(phones::set_forwards))
        .routes(routes!(directory::list))
        .routes(routes!(softphone::show, softphone::ticket))
        .routes(routes!(queues::list))
        .routes(routes!(queues::put, queues::delete))
        .routes(routes!(queues::sign))
        .routes(routes!(queues::groups))
        .routes(routes!(queues::put_group, queues::delete_group))
        .routes(routes!(bans::list))
        .routes(routes!(bans::lift))
        .routes(routes!(calls::list))
        .routes(routes!(calls::live))
        .routes(routes!(calls::hang_up))
        .routes(routes!(calls::insert))
        .routes(routes!(call_lists::list, call_lists::create))
        .routes(routes!(call_lists::replace, call_lists::delete))
        .routes(routes!(call_lists::start))
        .routes(routes!(call_lists::stop))
        .routes(routes!(broadcasts::list, broadcasts::begin))
        .routes(routes!(broadcasts::preview))
        .routes(routes!(broadcasts::show))
        .routes(routes!(broadcasts::stop))
        .routes(routes!(broadcasts::whip))
        .routes(routes!(broadcasts::lists, broadcasts::create_list))
        .routes(routes!(broadcasts::replace_list, broadcasts::delete_list))
        .routes(routes!(broadcasts::sounds, broadcasts::upload))
        .routes(routes!(broadcasts::sound, broadcasts::delete_sound))
        .routes(routes!(templates::list, templates::create))
        .routes(routes!(templates::replace, templates::delete))
        .routes(routes!(templates::start))
        .routes(routes!(templates::again))
        .routes(routes!(templates::stop))
        .routes(routes!(templates::keep_as))
        .routes(routes!(schedules::list, schedules::create))
        .routes(routes!(schedules::replace, schedules::delete))
        .routes(routes!(trunks::list))
        .routes(routes!(system::show))
        .routes(routes!(system::notices))
        .routes(routes!(events::stream))
}

/// The OpenAPI document.
pub fn openapi() -> utoipa::openapi::OpenApi {
    OpenApiRouter::new().nest("/api/v1", v1()).into_openapi()
}

/// All routes of the hall.
pub fn router(app: Shared) -> Router {
    let (api, document) = OpenApiRouter::new().nest("/api/v1", v1()).split_for_parts();
    let document = document.to_json().unwrap_or_default();
    let policy = "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; style-src 'self'; \
                  connect-src 'self'; worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'";
    let fixed = |name: HeaderName, value: &'static str| {
        SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value))
    };
    api.route(
        "/api/v1/openapi.json",
        get(move || async move { ([(header::CONTENT_TYPE, "application/json")], document) }),
    )
    .route("/healthz", get(probes::healthz))
    .route("/readyz", get(probes::readyz))
    .route("/metrics", get(probes::metrics))
    .route("/api/{*rest}", axum::routing::any(error::no_route))
    .layer(axum::middleware::map_response(error::in_one_form))
    .route("/sip", get(sip_ws::stream))
    .merge(crate::pictures::listen::routes())
    .fallback(web::console)
    .layer(DefaultBodyLimit::max(BODY_LIMIT))
    .layer(fixed(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
    .layer(fixed(header::X_FRAME_OPTIONS, "DENY"))
    .layer(fixed(header::REFERRER_POLICY, "no-referrer"))
    .layer(fixed(header::CONTENT_SECURITY_POLICY, policy))
    .with_state(app)
}

/// How long a request to a device may take before the API answers that it did not.
const DEVICE_TIMEOUT: Duration = Duration::from_secs(15);
