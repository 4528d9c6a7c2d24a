#!/usr/bin/env perl

# Why: a list is where requests of others would show.  Everybody sees all that
# is his to see, nothing else, in order, however the list grows meanwhile.

use strict;
use warnings;

use Test::Lockbox;
use Test::Lockbox::Admin;
use Test::Lockbox::Race qw(lane fire $RACE_SERVER);

my $ALL = '/lockbox/v1/requests';
my $GLOBEX = '/lockbox/v1/tenants/globex/requests';

# Who sees what there is of acme and globex: all of it, or one engineer's.
my %SEES = (
    'engineer'         => [ 'erin', 'erin' ],
    'other-engineer'   => [ 'emil', 'emil' ],
    'engineer-manager' => [ 'all', 'all' ],
    'former-engineer'  => [ 'all', 'all' ],
    'manager'          => [ 'all', 'all' ],
    'second-manager'   => [ 'all', 'all' ],
    'customer'         => [ 'all', 'none' ],
    'second-customer'  => [ 'all', 'none' ],
    'other-customer'   => [ 'none', 'all' ],
    'auditor'          => [ 'all', 'all' ],
    'roleless'         => [ 'none', 'none' ],
    'false-customer'   => [ 'none', 'none' ],
    'false-manager'    => [ 'none', 'none' ],
);

# Who may file, and as whom.
my %SUB = (
    'engineer' => 'erin', 'engineer-manager' => 'erin',
    'former-engineer' => 'erin', 'other-engineer' => 'emil',
);

# Who has to decide in which state at which tenant.
my %DECIDES = (
    'manager'         => qr/^awaiting_manager/,
    'second-manager'  => qr/^awaiting_manager/,
    'customer'        => qr/^awaiting_customer acme/,
    'second-customer' => qr/^awaiting_customer acme/,
    'other-customer'  => qr/^awaiting_customer globex/,
);

my %VIEW = (
    awaiting => sub {
        my ($who, $request) = @_;

        return "$request->{state} $request->{tenant}"
               =~ ($DECIDES{$who} // qr/^nothing/);
    },
    mine => sub {
        my ($who, $request) = @_;

        return ($SUB{$who} // '') eq $request->{engineer};
    },
    live => sub { $_[1]{state} eq 'approved' },
    history => sub { $_[1]{state} !~ /^(awaiting_.*|approved)$/ },
);

my $t = Test::Lockbox->new;

begin($t, server => $RACE_SERVER);

# oldest first: id, tenant, engineer and state
my @requests = (
    filed('acme', 'engineer', 'awaiting_manager'),
    filed('acme', 'engineer', 'awaiting_customer', [ manager => 'approve' ]),
    filed('acme', 'other-engineer', 'approved', [ manager => 'approve' ],
          [ customer => 'approve' ]),
    filed('globex', 'engineer', 'awaiting_manager'),
    filed('acme', 'engineer', 'denied', [ manager => 'deny' ]),
    filed('acme', 'other-engineer', 'cancelled',
          [ 'other-engineer' => 'cancel' ]),
    filed('globex', 'other-engineer', 'denied', [ manager => 'deny' ]),
    filed('acme', 'engineer', 'revoked', [ manager => 'approve' ],
          [ customer => 'approve' ], [ customer => 'revoke' ]),
    filed('acme', 'engineer', 'completed', [ manager => 'approve' ],
          [ customer => 'approve' ], [ engineer => 'complete' ]),
    filed('acme', 'other-engineer', 'lapsed'),
    filed('acme', 'engineer', 'expired', [ manager => 'approve' ],
          [ customer => 'approve' ]),
);

make_due($_->{id}, unseen => 1)
    for grep { $_->{state} =~ /^(lapsed|expired)$/ } @requests;

visibility();
states();
views();
filters();
pages();
growth();
meetings();
other_cursors();
others_cursors();
history();

done_testing();


# No two are of one millisecond.
sub filed {
    my ($tenant, $who, $state, @steps) = @_;

    my $id = file(tenant => $tenant, who => $who);
    $t->wait_for(sub { now() > stored($id, $tenant)->{created_at} });

    for (@steps) {
        my ($by, $action) = @$_;
        my $response = ask($by, 'POST', uri($id, $action, $tenant),
            json => { version => stored($id, $tenant)->{version} + 0 });

        $response->status == 200 or die $response->body;
    }

    return { id => $id, tenant => $tenant, state => $state,
             engineer => $who eq 'engineer' ? 'erin' : 'emil' };
}

# The ids of those that are meant, newest first.
sub ids {
    my ($is_meant) = @_;

    return [ map { $_->{id} } grep { $is_meant->() } reverse @requests ];
}

sub page {
    my ($who, $list, %query) = @_;

    my $query = join '&', map { "$_=$query{$_}" } sort keys %query;
    my $response = ask($who, 'GET', $query ne '' ? "$list?$query" : $list);

    $response->status == 200 or die $response->body;

    return $response->json;
}

sub listed {
    return [ map { $_->{id} } @{ page(@_)->{requests} } ];
}

# All pages, as lists of ids; the test would never end if the list did not.
sub all_pages {
    my ($who, $list, %query) = @_;

    my @pages;

    while (@pages < 100) {
        my $page = page($who, $list, %query);

        push @pages, [ map { $_->{id} } @{ $page->{requests} } ];
        $query{cursor} = $page->{next} // last;
    }

    return @pages;
}

sub sees {
    my ($who, $request) = @_;

    my $part = $SEES{$who}[ $request->{tenant} eq 'acme' ? 0 : 1 ];

    return $part eq 'all' || $part eq $request->{engineer};
}


sub visibility {
    records();

    for my $who (sort keys %SEES) {
        is_deeply(listed($who, $ALL), ids(sub { sees($who, $_) }),
                  "$who sees his requests (W11)");

        for my $tenant (qw(acme globex)) {
            my $list = $tenant eq 'acme' ? $REQUESTS : $GLOBEX;

            is_deeply(listed($who, $list), ids(sub {
                $_->{tenant} eq $tenant && sees($who, $_);
            }), "... of $tenant");
        }
    }

    is_deeply([ records() ], [], 'reads are not recorded');
    is(outcome($t->http('GET', $_)), '401 no_token', "$_ without a token")
        for $ALL, $REQUESTS;
    is_deeply([ record_words(records()) ], [ ('end list no_token') x 2 ],
              '... is');

    for my $who (qw(engineer manager customer auditor)) {
        is_deeply([ map { ask($who, 'GET', uri($_->{id}, undef, $_->{tenant}))
                          ->json } @{ page($who, $ALL)->{requests} } ],
                  page($who, $ALL)->{requests},
                  "$who: an entry is what is shown alone");
    }
}

sub states {
    for my $state (qw(awaiting_manager awaiting_customer approved denied
                      cancelled revoked completed lapsed expired needs_info))
    {
        for my $who (qw(engineer manager customer)) {
            is_deeply(listed($who, $ALL, state => $state),
                      ids(sub { $_->{state} eq $state && sees($who, $_) }),
                      "$who: $state");
            is_deeply(listed($who, $REQUESTS, state => $state), ids(sub {
                $_->{state} eq $state && $_->{tenant} eq 'acme'
                && sees($who, $_);
            }), '... of acme');
        }
    }
}

sub views {
    for my $who (sort keys %SEES) {
        for my $view (sort keys %VIEW) {
            my $meant = sub { sees($who, $_) && $VIEW{$view}->($who, $_) };

            is_deeply(listed($who, $ALL, view => $view), ids($meant),
                      "$who: $view");
            is_deeply(listed($who, $REQUESTS, view => $view),
                      ids(sub { $meant->() && $_->{tenant} eq 'acme' }),
                      '... of acme');
        }

        my $awaiting = page($who, $ALL, view => 'awaiting')->{requests};

        is(scalar(grep { "@{ $_->{actions} }" !~ /^approve deny/ } @$awaiting),
           0, "$who may decide on what awaits him");
    }
}

# All filters at once: each only narrows what the others leave.
sub filters {
    my $requests = page('manager', $ALL)->{requests};
    my %at = map { $_->{id} => $_->{created_at} } @$requests;
    my ($newer, $older) = @at{ map { $_->{id} } @requests[8, 2] };
    my $iss = $requests->[0]{engineer}{iss};

    my @filters = (
        [ sub { 1 } ],
        [ sub { $_->{tenant} eq 'globex' }, tenant => 'globex' ],
        [ sub { $_->{tenant} eq 'acme' }, tenant => 'acme' ],
        [ sub { 0 }, tenant => 'initech' ],
        [ sub { $_->{state} =~ /^(?:denied|approved)$/ },
          state => 'approved,denied' ],
        [ sub { $_->{state} =~ /^awaiting/ },
          state => 'awaiting_customer,awaiting_manager' ],
        [ sub { $_->{engineer} eq 'emil' }, engineer => 'emil' ],
        [ sub { $_->{engineer} eq 'erin' },
          engineer => 'erin', engineer_iss => $iss ],
        [ sub { 0 }, engineer => 'erin', engineer_iss => "$iss/" ],
        [ sub { 0 }, engineer => 'Erin' ],
        [ sub { $at{$_->{id}} ge $older }, since => $older ],
        [ sub { $at{$_->{id}} lt $newer }, until => $newer ],
        [ sub { $at{$_->{id}} ge $older && $at{$_->{id}} lt $newer },
          since => $older, until => $newer ],
        [ sub { 0 }, since => $newer, until => $older ],
        [ sub { $at{$_->{id}} lt $newer && $_->{engineer} eq 'erin'
                && $_->{tenant} eq 'acme' },
          until => $newer, engineer => 'erin', tenant => 'acme' ],
    );

    for my $who (qw(engineer manager customer auditor roleless)) {
        for my $filter (@filters) {
            my ($is_meant, %query) = @$filter;
            my $name = join ' ', $who, map { "$_=$query{$_}" }
                                           sort keys %query;

            for my $view (undef, sort keys %VIEW) {
                my $meant = ids(sub {
                    sees($who, $_) && $is_meant->()
                    && (!$view || $VIEW{$view}->($who, $_));
                });
                my %all = (%query, $view ? (view => $view) : ());

                is_deeply(listed($who, $ALL, %all), $meant,
                          $name . ($view ? " view=$view" : ''));

                next if $view && $view ne 'history';

                my @pages = all_pages($who, $ALL, %all, limit => 2);

                is_deeply([ map { @$_ } @pages ], $meant, '... in pages');
                is(scalar(grep { !@$_ } @pages), @$meant ? 0 : 1,
                   '... none of which is empty');
            }
        }
    }
}

sub pages {
    for my $who (qw(engineer manager customer other-customer roleless)) {
        my $all = ids(sub { sees($who, $_) });

        for my $limit (1, 2, 3, 100) {
            my @pages = all_pages($who, $ALL, limit => $limit);

            is_deeply([ map { @$_ } @pages ], $all,
                      "$who: pages of $limit are the list");
            is(scalar(grep { @$_ > $limit } @pages), 0, '... and no longer');
        }
    }

    is_deeply([ map { @$_ } all_pages('manager', $ALL, limit => 1,
                                      state => 'denied') ],
              ids(sub { $_->{state} eq 'denied' }), 'pages of one state');
}

# What is filed while somebody turns the pages comes before the first one.
sub growth {
    my $before = ids(sub { 1 });
    my $first = page('manager', $ALL, limit => 4);

    push @requests, map { filed('acme', 'engineer', 'awaiting_manager') }
                        1 .. 60;

    my @rest = all_pages('manager', $ALL, limit => 4,
                         cursor => $first->{next});

    is_deeply([ map { $_->{id} } @{ $first->{requests} } ],
              [ @$before[0 .. 3] ], 'a page');
    is_deeply([ map { @$_ } @rest ], [ @$before[4 .. $#$before] ],
              '... and those behind it, whatever is filed');

    my $page = page('manager', $ALL);

    is(scalar @{ $page->{requests} }, 50, 'a page without a limit (W25)');
    is_deeply([ (map { $_->{id} } @{ $page->{requests} }),
                map { @$_ } all_pages('manager', $ALL,
                                      cursor => $page->{next}) ],
              ids(sub { 1 }), '... and the rest');
}

# Whoever turns pages while requests are filed and end sees each of those that
# were there all the time, once and in order.
sub meetings {
    my @lanes = map { lane($t) } 1 .. 4;
    my @kept = grep { $_->{state} eq 'awaiting_manager' } @requests;
    my ($ends, @stay) = @kept[-20 .. -1];
    my %stays = map { $_->{id} => 1 } @stay;

    my ($cursor, $met, @seen) = ('', 0);

    while (defined $cursor) {
        my $query = "view=awaiting&limit=3"
                    . ($cursor ne '' ? "&cursor=$cursor" : '');
        my $ended = $met % 2 ? undef : shift @kept;

        undef $ended if $ended && $stays{$ended->{id}};

        my @calls = (
            [ 'GET', "$ALL?$query", token => token_of('manager') ],
            ([ 'POST', $REQUESTS, json => filing(),
               token => token_of('engineer') ]) x 2,
            $ended ? [ 'POST', uri($ended->{id}, 'deny', $ended->{tenant}),
                       token => token_of('manager'),
                       json => { version => 1 } ] : (),
        );
        my ($page, @others)
            = fire(map { [ $lanes[$_], @{ $calls[$_] } ] } 0 .. $#calls);

        $page->status == 200 or die $page->body;
        push @seen, map { $_->{id} } @{ $page->json->{requests} };
        $cursor = $page->json->{next};

        for my $other (@others) {
            $other->status =~ /^20[01]$/ or die $other->body;
            push @requests, { id => $other->json->{id}, tenant => 'acme',
                              state => 'awaiting_manager',
                              engineer => 'erin' } if $other->status == 201;
        }

        $ended->{state} = 'denied' if $ended;
        last if ++$met > 200;
    }

    my %times;
    $times{$_}++ for @seen;

    cmp_ok($met, '>', 10, 'pages meet filings and denials');
    is_deeply([ grep { $times{$_} > 1 } sort keys %times ], [],
              '... and nothing comes twice');
    is_deeply([ grep { $stays{$_} } @seen ],
              ids(sub { $stays{$_->{id}} }), '... nor is left out');

    # in the order of their places, which answers that meet do not tell
    my %at = map { $_->{id} => redis('ZSCORE', 'lockbox:requests',
                                     "$_->{tenant}:$_->{id}") } @requests;
    @requests = sort { $at{$a->{id}} <=> $at{$b->{id}} } @requests;
}

# A cursor leads another list to where it was given, and to nothing that this
# list has not (W12).
sub other_cursors {
    my @lists = (
        [ $ALL ], [ $REQUESTS ], [ $GLOBEX ], [ $ALL, view => 'awaiting' ],
        [ $ALL, view => 'history' ], [ $ALL, state => 'denied,approved' ],
        [ $ALL, engineer => 'emil' ], [ $REQUESTS, view => 'mine' ],
    );

    for my $who (qw(manager engineer customer)) {
        for my $from (@lists) {
            my $page = page($who, @$from, limit => 2);
            my $cursor = $page->{next} // next;
            my %older = map { map { $_ => 1 } @$_ }
                            all_pages($who, $ALL, cursor => $cursor);

            for my $to (@lists) {
                my @all = map { @$_ } all_pages($who, @$to);

                is_deeply([ map { @$_ } all_pages($who, @$to,
                                                  cursor => $cursor) ],
                          [ grep { $older{$_} } @all ],
                          "$who: a cursor of @$from for @$to");
            }
        }
    }
}

# A cursor is a place, not a right (W12).
sub others_cursors {
    my $cursor = page('customer', $REQUESTS, limit => 1)->{next};
    my %acme = map { $_->{id} => 1 } grep { $_->{tenant} eq 'acme' } @requests;

    for my $list ($ALL, $REQUESTS, $GLOBEX) {
        my @seen = map { @$_ } all_pages('other-customer', $list,
                                         cursor => $cursor);

        is(scalar(grep { $acme{$_} } @seen), 0,
           "another tenant's cursor for $list (W12)");
    }

    is(scalar(grep { index($cursor, $_->{id}) >= 0 } @requests), 0,
       'a cursor names no request');
}

# An ended request stays, until its time is over.
sub history {
    my ($denied) = map { $_->{id} } grep { $_->{state} eq 'denied' } @requests;
    my $ended_at = act('customer', 'show', $denied)->json->{ended_at};

    like($ended_at, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
         'an ended request says when');
    cmp_ok(redis('PEXPIRETIME', request_key($denied)), '>',
           now() + 399 * 86_400_000, '... and stays for long');

    redis('PEXPIREAT', request_key($denied), 1);
    @requests = grep { $_->{id} ne $denied } @requests;

    is_deeply([ map { @$_ } all_pages('manager', $ALL) ], ids(sub { 1 }),
              'what is gone is in no list');
    is(outcome(act('manager', 'show', $denied)), '404 not_found',
       '... and not there');
}
