--- `KEEP=1 make demo`: after the story everything runs on, for the person at the terminal and a browser.

local by_hand = {}

local TEXT = [[

Now it is yours, until you press Enter:
    %s
        Ring's side: install the app here, and open the partner's page that it leads to
    %s/ring/home
        the partner's side: sign in as %s, password %s
    %s
        the status page
Your browser will warn of the partner's certificate: it was made for this run and nobody else vouches for it.]]

--- Waits until the person has seen enough.
---@param scene table after the sandbox's story
function by_hand.play(scene)
  local partner = scene.partner
  scene.out:say(TEXT:format(scene.ring.page_url, partner.at.origin, partner.user.email, partner.user.password,
    partner:admin("status")))
  scene.read_line()
end

return by_hand
