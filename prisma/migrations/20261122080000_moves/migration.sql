-- Shards that are on their way to another master of a Redis Cluster.

-- The word of a person (`npm run recover -- --move`). The writer that holds the shard's lease carries it out and removes the
-- row; a move that was interrupted goes on from it.
create table shard_move (
  shard smallint primary key,
  -- `host:port` of the master that is to have it.
  target text not null check (target ~ '^[^ @/]+:[0-9]+$'),
  asked_at timestamptz not null default now(),
  -- Set before the first key leaves. The nodes' own mark of that is lost when the source fails over.
  began_at timestamptz,
  -- The shard stays where it is; what had left may be lost, so its next epoch trusts nothing in Redis, and removes the row.
  given_up_at timestamptz
);
insert into compatible_migration (migration) values ('20261122080000_moves');
