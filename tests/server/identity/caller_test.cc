#include "server/identity/caller.h"

#include <gtest/gtest.h>

namespace retnet {
namespace {

TEST(TenantOfPeer, IsTheAddressAndThePortTellsConnectionsApart) {
  struct Case {
    const char* peer;
    const char* principal;
    const char* connection;
  };
  for (const auto& [peer, principal, connection] :
       {Case{"ipv4:127.0.0.1:40312", "ipv4:127.0.0.1", "40312"},
        Case{"ipv6:%5B::1%5D:40312", "ipv6:%5B::1%5D", "40312"}, Case{"unix:", "unix:", ""},
        Case{"unix:/run/retnet", "unix:/run/retnet", ""}, Case{"", "", ""}}) {
    const Tenant tenant = TenantOfPeer(peer);
    EXPECT_EQ(tenant.principal, principal);
    EXPECT_EQ(tenant.connection, connection);
    EXPECT_EQ(tenant.weight, 1.0);
  }
}

}  // namespace
}  // namespace retnet
