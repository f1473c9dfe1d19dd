-- What came of a campaign's arrivals is counted from its decisions.
CREATE INDEX decision_campaign ON decision (campaign, at) INCLUDE (reason);
