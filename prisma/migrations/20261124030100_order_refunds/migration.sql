-- Refunds of a pool's redemption that a return of an order asks for.
-- Safe while older code runs: it waits for one that is waiting, as for any other that is under way, until a newer process has made it.

-- `waiting`: for the return that asks for it; how many points it brings back of this redemption follows from that. Nobody else begins one
-- of the same redemption meanwhile. `attempts`: how many requests are at it.
alter table pool_refund add column attempts integer not null default 0;
alter table pool_refund drop constraint pool_refund_state_check;
alter table pool_refund add constraint pool_refund_state_check check (state in ('waiting', 'refunding', 'refunded'));
create unique index pool_refund_one on pool_refund (redemption) where state in ('waiting', 'refunding');
drop index pool_refund_turn;
-- Which redemptions have paid for an order.
create index pool_redemption_order on pool_redemption (program, (coalesce(request ->> 'order', request #>> '{purchase,order}')))
  where coalesce(request ->> 'order', request #>> '{purchase,order}') is not null;
create index pool_refund_waiting on pool_refund (changed_at) where state = 'waiting';

insert into compatible_migration (migration) values ('20261124030100_order_refunds');
