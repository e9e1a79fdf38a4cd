-- Shards that are on their way to another master of a Redis Cluster.

-- The word of a person (`npm run recover -- --move`). The writer that holds the shard's lease carries it out and removes the
-- row; a move that was interrupted goes on from it.
create table shard_move (
  shard smallint primary key,
  -- `host:port` of the master that is to have it.
  target text not null check (target ~ '^[^ @/]+:[0-9]+$'),
  asked_at timestamptz not null default now()
);
insert into compatible_migration (migration) values ('20261122080000_moves');
