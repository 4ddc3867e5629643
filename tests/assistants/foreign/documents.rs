//! Apache Tika itself reads documents. PyPI has its library alone, so that `peers/TikaFront.java` offers tika-server's `PUT /tika` in front of it.

use rstest::rstest;
use telegram_connector_operator::api::connector::ExtractSpec;
use telegram_connector_operator::assistant::build_extractor;

use super::peer_url;
use crate::fixtures::http_client;

#[rstest]
#[case::pdf(include_bytes!("documents/offer.pdf"), Some("Total: 12 EUR"))]
#[case::word(include_bytes!("documents/offer.docx"), Some("Größe: 12 €"))]
#[case::broken(b"%PDF-1.7\nnothing of a PDF", None)]
#[tokio::test]
async fn tika_reads_documents(#[case] document: &'static [u8], #[case] words: Option<&str>) {
    let spec = ExtractSpec {
        url: peer_url("TIKA"),
        api_key_secret_ref: None,
        timeout_seconds: Some(60),
    };
    let extractor = build_extractor(&spec, None, &http_client()).expect("an extractor");
    let read = extractor
        .extract(&document.into())
        .await
        .expect("Tika answers");
    assert_eq!(read.as_ref().map(|read| read.text.as_str()), words);
}
