-- Every store that ringlink brings keeps the contract of the store port.

local contract = require "support.store_contract"
local memory = require "ringlink.store.memory"
local stores = require "support.stores"

local STORES = {
  { "memory", function(clock) return memory.new(clock) end },
  { "sqlite", function(clock) return stores.sqlite(stores.new_path(), { clock = clock }) end },
}

teardown(stores.remove_all)

for _, store in ipairs(STORES) do contract(store[1], store[2]) end
