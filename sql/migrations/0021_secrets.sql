-- What is made here to sign by lies sealed, as push credentials do: the key's name (8 bytes), a nonce, and AES-256-GCM of the
-- secret, bound to workspace and name. 32 bytes are a secret in plain, as it lay until `geo-offers keys reseal`, or does where
-- there is no key.
ALTER TABLE workspace_secret ALTER COLUMN interactions DROP DEFAULT;  -- a secret that is made here would not be sealed
ALTER TABLE workspace_secret ADD CHECK (octet_length(user_proof) IN (32, 68)), ADD CHECK (octet_length(interactions) IN (32, 68));
ALTER TABLE webhook_endpoint ADD CHECK (octet_length(secret) IN (32, 68)), ADD CHECK (octet_length(former) IN (32, 68));
ALTER TABLE service_key ADD CHECK (octet_length(secret) IN (32, 68));

-- The oldest of what waits is asked for twice a second, however much that is.
CREATE INDEX webhook_delivery_waiting ON webhook_delivery (created_at) WHERE state IN ('due', 'leased');
