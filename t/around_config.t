#!/usr/bin/perl

# Why: what nginx can do in a location, and cannot do there once it is gated,
# must show before it runs.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Nginxt;

my $t = Test::Lockbox->new;

# A request that runs after another one's answer, under the same name, would
# leave no record of how the first one ended.

my $message = qr/"lockbox on" in .*:\d+ and "post_action" exclude each other/;

rejected($t, 'post_action', $message,
         { locations => gate(post_action => '/free') },
         { locations => gate(post_action => '/free', lockbox => 'off') });
rejected($t, 'post_action of the server', $message,
         { server => 'post_action /free;', locations => gate() },
         { server => 'post_action /free;',
           locations => gate(lockbox => 'off') });
rejected($t, 'post_action within', $message,
         { locations => gate() =~ s/\}/location \/gated\/a { post_action \/b; }
                                         }/r },
         { locations => gate() =~ s/\}/location \/gated\/a { lockbox off;
                                         post_action \/b; }
                                         }/r });
rejected($t, 'post_action in a gated server', $message,
         { server => "lockbox on;\nlockbox_tenant a;\nlockbox_service b;",
           locations => "location \@a { post_action /free; }\n" . gate() },
         { server => "lockbox on;\nlockbox_tenant a;\nlockbox_service b;",
           locations => gate() });
accepted($t, 'post_action to a gated location', {
    locations => "location /free/ { post_action /gated/; }\n" . gate(),
});

done_testing;
