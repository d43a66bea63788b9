--- libuv's module, opened once for all files of specs.
--
-- busted forgets modules between files; but luv, opened a second time, has the loop of the first freed under
-- whoever still uses it.

local luv = require "luv"

package.preload.luv = function() return luv end

return luv
