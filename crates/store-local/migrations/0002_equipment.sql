-- What a device has besides its image: agent, trust anchor, hardware and
-- what its bootloader can do. All but the hardware, which it need not name,
-- or none while it has not spoken since this was asked for.

ALTER TABLE devices ADD COLUMN agent         TEXT;
ALTER TABLE devices ADD COLUMN root_version  INTEGER;
ALTER TABLE devices ADD COLUMN hardware      TEXT;
ALTER TABLE devices ADD COLUMN bootloader    TEXT;
ALTER TABLE devices ADD COLUMN verifies      INTEGER CHECK (verifies IN (0, 1));
ALTER TABLE devices ADD COLUMN trial         INTEGER CHECK (trial IN (0, 1));
ALTER TABLE devices ADD COLUMN epoch_counter INTEGER CHECK (epoch_counter IN (0, 1));
