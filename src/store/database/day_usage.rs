//! What a day's questions cost, in a database.

use async_trait::async_trait;

use super::DatabaseStore;
use crate::store::StoreError;
use crate::store::day_usage::{DayUsageStore, LimitedQuestion, READ_USAGE, ReachedLimit};
use crate::store::reading::{Columns as _, Readers, Value};
use crate::store::requests::StoreRequest;

#[async_trait]
impl<R: Readers> DayUsageStore for DatabaseStore<R> {
    async fn reached_limit(
        &self,
        question: &LimitedQuestion,
    ) -> Result<Option<ReachedLimit>, StoreError> {
        let (connector, day, user, message) = question.values();
        let values = [connector, day, user, message].map(Value::Number);
        let read = self.readers.fetch(READ_USAGE.to_owned(), &values).await;
        let rows = read.map_err(|e| (self.explain)(&e))?;
        let usage = rows
            .first()
            .map(|row| [0, 1, 2, 3, 4].map(|column| row.number(column)));
        Ok(question.verdict(usage).refusal())
    }

    async fn count_question(
        &self,
        question: &LimitedQuestion,
    ) -> Result<Option<ReachedLimit>, StoreError> {
        if !question.counts_messages() {
            return self.reached_limit(question).await;
        }
        self.writer
            .call(question.clone(), StoreRequest::CountQuestion)
            .await
    }
}
