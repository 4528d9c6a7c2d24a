#!/usr/bin/perl

# Why: "make run" is the first thing that anybody sees of this.  It must work
# at once, twice, for root and for others, from anywhere, and leave nothing.

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use IO::Socket::INET;
use JSON::PP ();

use Test::Lockbox;
use Test::Lockbox::Schema;

my $TOP = abs_path(dirname(__FILE__) . '/..');

if (defined $ENV{LOCKBOX_STATIC}) {
    plan(skip_all => 'the demonstration loads the module');
}

my $t = Test::Lockbox->new;
my $base = $t->testdir;
my $dir = "$base/lockbox-demo-$>";
my $door = 'http://127.0.0.1:' . $t->port(8080);

# workers of root's nginx are another user's
chmod 0711, $base or die "$base: $!\n";

%ENV = (%ENV, LOCKBOX_DEMO_TMPDIR => $base,
        LOCKBOX_DEMO_PORT => $t->port(8080),
        LOCKBOX_DEMO_OWN_PORT => $t->port(8081));
delete @ENV{qw(http_proxy https_proxy all_proxy ALL_PROXY)};

# Before the world's own: nothing of the demonstration outlives this test.
END {
    local $?;
    demo('stop') if defined $dir && -d $dir;
}

my $THE_STORY = <<'EOF_STORY';
Nobody has standing access
-> 401 no_token
-> 401 wrong_type
-> 403 not through a door
The customers have a door of their own, and nothing changes there
-> 200
-> 401 not your key
The engineer asks for what she needs
-> 201 awaiting_manager
=> filed by erin: message 1 goes to the manager
The manager comes first, and nobody approves what is their own
-> 409 conflict
-> 403 forbidden_role
-> 409 conflict
The manager asks, the engineer answers, the manager approves
-> 200 needs_info
=> asked by mona
-> 200 awaiting_manager
=> answered by erin
-> 409 conflict
-> 200 awaiting_customer
=> approved by mona: message 1 is withdrawn, message 2 goes to the customer
Then the customer, and only the one whose data it is, for less
-> 404 not_found
-> 200 approved
=> approved by carl: message 2 is withdrawn
The engineer collects the grant and reads the mail
-> 200 Bearer
=> collected by erin
-> 200
-> 200
And nothing else
-> 403 wrong_tenant
-> 403 wrong_method
-> 403 wrong_path
-> 403 wrong_service
-> 403 wrong_label
Half an hour is too short
-> 201 awaiting_manager
=> filed by erin: message 3 goes to the manager
-> 200 awaiting_customer
=> approved by mona: message 3 is withdrawn, message 4 goes to the customer
-> 200 approved
=> approved by carl: message 4 is withdrawn
-> 200 Bearer
=> collected by erin
-> 401 not_yet_valid
-> 200
The customer has seen enough
-> 200 revoked
=> revoked by carl
-> 401 revoked
-> 200 revoked
=> revoked by carl
The customer says what is approved beforehand, and what never
-> 200 policy
-> 200 policy
=> policy_changed by carl
-> 400 invalid_member
An alert at night
-> 201 awaiting_manager
=> filed by erin: message 5 goes to the manager
-> 409 conflict
-> 200 approved
=> approved by mona: message 5 is withdrawn, message 6 goes to the customer
=> approved by carl beforehand (stuck-mail): message 6 is withdrawn
-> 200 Bearer
=> collected by erin
-> 200
The engineer hands back what she no longer needs
-> 200 completed
=> completed by erin
-> 401 completed
Nobody answers
-> 201 awaiting_manager
=> filed by erin: message 7 goes to the manager
-> 0
-> 0
=> lapsed by time: message 7 is withdrawn
-> 409 conflict
-> 200 lapsed
What came to the notifier
What the tenant API was told
What is on record of the first request, intents and outcomes
EOF_STORY

# Runs a command of a shell, from a directory that has nothing to do with it.
sub shell {
    my ($command) = @_;

    local $?;
    my $output = `cd / && { $command\n} 2>&1`;

    return wantarray ? ($? >> 8, $output) : $output;
}

sub demo {
    my ($command) = @_;

    return shell("'$TOP'/conf/demo/$command");
}

sub slurp {
    my ($file) = @_;

    open my $fh, '<', $file or return '';
    local $/;

    return <$fh>;
}

# nginx, its workers, and Redis
sub processes {
    my %named = map { $_ => 1 }
                map { slurp("$dir/$_.pid") =~ /(\d+)/ } qw(nginx redis);
    my @workers;

    for my $file (glob '/proc/[0-9]*/stat') {
        my ($pid, $parent) = slurp($file) =~ /^(\d+) .*\) \S (\d+)/s or next;
        push @workers, $pid if $named{$parent};
    }

    return (keys %named, @workers);
}

sub running {
    return grep { slurp("/proc/$_/cmdline") ne '' } @_;
}

sub mode {
    my ($file) = @_;

    return sprintf '%o', (stat "$dir/$file")[2] & 07777;
}

# Titles, answers and events, in order.
sub story_of {
    my ($output) = @_;

    my ($told) = $output =~ /engineers come to [^\n]*\n(.*)\nIt goes on/s
        or return $output;
    my @story = map {
        /\A\n?([A-Z][^:\n]*)[^\n]*\z/ ? $1
            : map { s/^->[^:]*\K:.*//r } /^    ([-=]> .+)/mg
    } split /\n\n/, $told;

    return join '', map { "$_\n" } @story;
}

# The part of the story that the README shows.
sub excerpt {
    my ($text) = slurp("$TOP/README.md") =~ /A part of it:\n\n(.*?\n)(?=\S)/s
        or return 'nothing';

    return $text =~ s/^ {4}//mgr =~ s/\s*\z/\n/r;
}

# Without what is another thing each time.
sub sameness {
    my ($text) = @_;

    return $text =~ s/\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/ID/gr
                 =~ s/\b\d{4}-\d\d-\d\dT[\d:.]+Z/TIME/gr;
}

# What the command shows that the story has with its output, which must be the
# same.
sub shown {
    my ($output, $name) = @_;

    my ($command, $lines) = $output =~ /^    \$ (\Q$name\E .*)\n((?:\{.*\n)+)/m
        or return;

    is($lines, shell($command), "what $name shows");

    return map { JSON::PP->new->utf8->decode($_) } split /^/, $lines;
}

# The lines to go on with by hand.
sub by_hand {
    my ($output) = @_;

    return $output =~ /in this order:\n(.*)\nThe audit log/s ? $1 : 'false';
}


# What stands in the way

my $stranger = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1,
                                     LocalPort => $t->port(8081),
                                     ReuseAddr => 1);

my ($exit, $output) = demo('run');

isnt($exit, 0, 'it does not start where somebody else listens');
like($output, qr/127\.0\.0\.1:@{[ $t->port(8081) ]} .* LOCKBOX_DEMO_OWN_PORT/x,
     'and says where that is');
ok(!-e $dir, 'and leaves nothing behind');
close $stranger;

mkdir "$base/target" or die "$base/target: $!\n";
symlink "$base/target", $dir or die "$dir: $!\n";

for my $script (qw(run stop)) {
    ($exit, $output) = demo($script);
    isnt($exit, 0, "$script does not follow a link");
    like($output, qr/\Q$dir\E is not a directory of yours/, 'and says so');
}

ok(-d "$base/target", 'and leaves alone what it leads to');
unlink $dir;

SKIP: {
    skip('only root can make what is another\'s', 1) if $> != 0;

    mkdir $dir;
    chown 65534, 65534, $dir;
    isnt((demo('run'))[0], 0, 'nor does it use what is another\'s');
    rmdir $dir;
}

for my $part (qw(REDIS NGINX)) {
    ($exit, $output) = shell("LOCKBOX_$part=false '$TOP'/conf/demo/run");
    isnt($exit, 0, "it does not run without $part");
    like($output, qr/\Q$part\E does not start/i, 'and says so');
    ok(!-e $dir, 'and leaves nothing behind');
}

is_deeply([ demo('stop') ], [ 0, "the demonstration does not run\n" ],
          'there is nothing to stop');

($exit, $output) = demo('token engineer');
isnt($exit, 0, 'nor anybody to be');
like($output, qr/make run/, 'until it is started');


# The story

($exit, $output) = demo('run');

is($exit, 0, 'it runs') or diag($output);
is(story_of($output), $THE_STORY, 'the story is told');
ok(index(sameness($output), sameness(excerpt())) >= 0,
   'and so it stands in the README');
like($output, qr/"subject": "Undelivered mail returned to sender"/,
     'the engineer has read mail');
unlike($output, qr/Counsel|Privileged|globex\.example/i,
       'and nothing that was not hers');

like($output, qr/^    -> 400 invalid_member: \/access\/0\/labels\/1 /m,
     'the customer\'s policy says what must not be asked for');

my @windows = map { [ split ' to ' ] }
                  $output =~ /^    -> 200 approved: (.* to .*), GET mail /mg;

is(scalar @windows, 3, 'three grants are for mail alone');
is($windows[1][0], $windows[0][1], 'one begins when another ends');
is(scalar(() = $output =~ /^       [A-Z]/mg), 3, 'what is remarkable is said');

my $json = JSON::PP->new->utf8;
my ($event) = shown($output, 'tail -n 1');

is_deeply({ map { $_ => $event->{data}{$_} } qw(event settles actor) },
          { event => 'lapsed', settles => 'manager', actor => undef },
          'the last event is shown whole');

my @records = shown($output, 'grep');
my $schema = Test::Lockbox::Schema->new(
    $json->decode(slurp("$TOP/conf/audit-record.schema.json")));

is($records[-1]{'event.reason'}, 'revoked', 'and the records of a request');

@records = map { $json->decode($_) } split /^/, slurp("$dir/audit.log");
is(join("\n", map { $schema->faults($_) } @records), '',
   'all records are what the schema says');
is(scalar(grep { $_->{'event.type'} eq 'end'
                 && $_->{'event.action'} eq 'lapsed' } @records), 1,
   'with what nobody did');

my $told = slurp("$dir/api.log");

is(scalar(() = $told =~ /^engineers .* subject=erin /mg), 4,
   'the tenant API heard who it was, and not what she claimed');
is(scalar(() = $told =~ / authorization=-$/mg), scalar(() = $told =~ /\n/g),
   'and never saw a grant');
is(slurp("$dir/access.log") =~ tr/\n//, 42, 'what the door saw is in its log');
unlike(slurp("$dir/access.log"), qr/eyJ/, 'without tokens');

is(mode('.'), '755', 'workers can enter the directory');
is(mode($_), '600', "$_ is the owner's alone")
    for qw(redis.password redis.conf secrets.conf acme.key
           keys/P-256-signing.pem keys/P-256-vendor.pem
           keys/RSA2048-customers.pem);
is(mode('keys'), '700', 'and so are all keys');


# By hand

my $answers = shell('{' . by_hand($output) . "\n} 2>/dev/null");

like($answers, qr/^\{"iss":"[^"]+","sub":"erin"/, 'a pasted line: who is it');

is_deeply([ $answers =~ /"(?:state|code|subject)":\s?"([^"]+)"/g ], [
    'awaiting_customer', 'approved', 'Draft of the Tamarack contract',
    'wrong_service', 'revoked', 'revoked',
    'revoked', 'lapsed', 'completed', 'revoked', 'revoked',
    'Order 88-1730: 40 anvils', 'Undelivered mail returned to sender',
    'Where is the mail from Tamarack?',
], 'the others: two approvals, in, not further, the end, what is left')
    or diag($answers);

for my $role (qw(engineer manager customer customer-globex auditor)) {
    my ($token) = demo("token $role") =~ /^(\S+)$/;
    my $response = $t->http('GET', '/lockbox/v1/whoami', token => $token);

    is($response->json->{roles}[0], $role =~ s/-.*//r, "$role is one");
}

($exit, $output) = demo('token somebody');
isnt($exit, 0, 'nobody is somebody');
like($output, qr/auditor\|customer\|customer-globex\|engineer\|manager/,
     'there are others');


# A story that goes wrong

unlink "$dir/data/tenants/acme/mail/messages/1043.json";
($exit, $output) = demo('story');

isnt($exit, 0, 'the story fails with an answer that it does not expect');
like($output, qr/the answer should be 200: .*no such thing/, 'and says which');

my $conf = slurp("$dir/nginx.conf");
my @workers = processes();

$t->write_file("lockbox-demo-$>/nginx.conf",
               $conf =~ s/'\$request_body'/'{"data":{"event":"none"}}'/r);
kill 'HUP', slurp("$dir/nginx.pid") =~ /(\d+)/;
$t->wait_for(sub { running(@workers) == 2 }, undef, 'other workers');

($exit, $output) = demo('story');

isnt($exit, 0, 'the story fails with an event that it does not expect');
like($output, qr/the event should be: filed by erin/, 'and says which');


# Again

my @before = processes();

is(scalar @before, 4, 'nginx, two workers and Redis run');

($exit, $output) = shell("LC_ALL=xx_YY.UTF-8 '$TOP'/conf/demo/run");

is($exit, 0, 'it runs again, with any locale') or diag($output);
like($output, qr/the demonstration that ran in \Q$dir\E is over/,
     'and ends what ran');
is(story_of($output), $THE_STORY, 'the story is the same');
is(scalar running(@before), 0, 'nothing of the first is left');

my @after = processes();

is(scalar running(@after), 4, 'the second runs');
is_deeply([ demo('stop') ],
          [ 0, "the demonstration that ran in $dir is over\n" ], 'it ends');
is(scalar running(@after), 0, 'no process is left');
ok(!-e $dir, 'and no file');
ok(!eval { $t->http('GET', '/') }, 'and nobody listens');


# Somebody else

SKIP: {
    my $user = getpwnam('nobody');

    skip('only root can be another', 5)
        unless $> == 0 && defined $user && system('setpriv true') == 0;

    my $copy = "$base/a copy";
    my $module = $ENV{LOCKBOX_MODULE}
        // "$TOP/build/ngx_http_lockbox_module.so";

    system('mkdir', '-p', "$copy/t/lib", "$copy/build", "$base/home") == 0
        && system('cp', '-R', "$TOP/conf", $copy) == 0
        && system('cp', '-R', "$TOP/t/lib/Lockbox", "$copy/t/lib") == 0
        && system('cp', $module, "$copy/build/ngx_http_lockbox_module.so") == 0
        && system('chown', '-R', $user, $copy, "$base/home") == 0
        or die "no copy\n";

    $dir = "$base/home/lockbox-demo-$user";
    local $ENV{LOCKBOX_DEMO_TMPDIR} = "$base/home";

    my $as = "setpriv --reuid=$user --regid=$user --clear-groups env "
             . "-u LOCKBOX_MODULE -u PERL5LIB HOME=$base/home "
             . 'PATH=/usr/bin:/bin';

    # a TMPDIR of root's own is closed to others, and so is all in it
    skip('nobody else can come here', 5)
        if (shell("$as test -r '$copy/conf/demo/run'"))[0] != 0;

    ($exit, $output) = shell("$as '$copy/conf/demo/run'");

    is($exit, 0, 'it runs for others, from anywhere') or diag($output);
    is(story_of($output), $THE_STORY, 'and tells the story');

    $answers = shell("cat > '$base/lines' <<'EOF_LINES'\n" . by_hand($output)
                     . "\nEOF_LINES\n$as sh '$base/lines' 2>/dev/null");
    like($answers, qr/"sub":"erin".*"awaiting_customer".*"approved"/s,
         'with lines to paste');

    my @others = processes();

    ($exit, $output) = shell("$as '$copy/conf/demo/stop'");
    is($exit, 0, 'which they can stop') or diag($output);
    is(scalar running(@others), 0, 'without a trace');
}

done_testing;
