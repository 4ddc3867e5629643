//! The data API of the operator's own binary behind a real aggregator, with the objects of the chart: what people see and do with stock kubectl, that
//! RBAC alone says who may, that nobody comes in beside the aggregator, and what it means for namespaces that go.
//!
//! An `APIService` leads to the loopback by a Service of type `ExternalName`; everything else is as the chart renders it. One server and one
//! operator serve all cases of a test, and each runs with each kubectl of this machine (`PATH`, `KUBECTL_NEW`, `KUBECTL_OLD`).

mod direct_calls;
mod letting_in;
mod namespaces;
mod people;
mod reading;
mod rights;
mod world;
mod writing;

use crate::cluster::Cluster;
use crate::kubectl_client;
use crate::not_tried::not_tried;
use crate::suite::Suite;

use self::world::World;

pub fn register(suite: &mut Suite) {
    add!(
        suite,
        [Core, Controllers, Discovery, OwnServer],
        kubectl_does_with_the_data_api_what_rbac_allows
    );
    add!(
        suite,
        [Core, Controllers, Discovery, OwnServer],
        namespaces_go_while_the_data_api_serves_and_wait_else
    );
}

async fn kubectl_does_with_the_data_api_what_rbac_allows(cluster: Cluster) {
    let clients = kubectl_client::clients();
    if clients.is_empty() {
        not_tried("the data API with kubectl: there is none");
        return;
    }
    let world = World::start(cluster).await;
    people::bind(&world).await;
    for client in &clients {
        let kubectl = world.kubectl(client);
        if world.cluster().control_plane.is_some() && kubectl.minor() < 29 {
            // It explains kinds from OpenAPI as Protobuf alone, which the embedded control plane, a server of today, has not.
            continue;
        }
        eprintln!("kubectl 1.{}", kubectl.minor());
        world.reset().await;
        reading::tables_show_what_is_there(&world, &kubectl).await;
        reading::objects_are_selected_by_their_fields(&world, &kubectl).await;
        reading::kinds_are_explained(&world, &kubectl).await;
        reading::words_are_read_by_a_right_of_their_own(&world, &kubectl).await;
        reading::watch_tells_who_comes_and_goes(&world, &kubectl).await;
        people::members_stay_in_their_namespace(&world, &kubectl).await;
        writing::messages_are_sent_and_waited_for(&world, &kubectl).await;
        writing::mistakes_are_named(&world, &kubectl).await;
        writing::dead_letters_are_tried_again(&world, &kubectl).await;
        letting_in::grants_are_given_found_and_ended(&world, &kubectl).await;
        writing::people_are_erased_by_selector(&world, &kubectl).await;
        letting_in::requests_are_decided_by_a_right_of_their_own(&world, &kubectl).await;
    }
    world.reset().await;
    let newest = clients
        .iter()
        .max_by_key(|client| world.kubectl(client).minor());
    let kubectl = world.kubectl(newest.expect("one"));
    rights::can_i_agrees_with_what_happens(&world, &kubectl).await;
    direct_calls::callers_beside_the_aggregator_are_refused(&world).await;
    world.assert_audited_without_words();
}

async fn namespaces_go_while_the_data_api_serves_and_wait_else(cluster: Cluster) {
    let mut world = World::start(cluster).await;
    namespaces::namespace_goes_with_its_objects(&world).await;
    namespaces::namespaces_wait_until_the_operator_is_back(&mut world).await;
}
